/**
 * The tag of the settings in force: another one whenever they are others, so that who changes them
 * learns that somebody else did so meanwhile.
 *
 * Source: RFC 9110 §8.8.3 "ETag", §13.1.1 "If-Match".
 */

import { createHash } from 'node:crypto';
import { failure } from '../model/errors.ts';
import type { SwitchSettings } from '../model/settings.ts';

/** With its quotation marks. */
export function tagOf(settings: SwitchSettings): string {
  return `"${createHash('sha256').update(JSON.stringify(settings)).digest('base64url')}"`;
}

/**
 * `header` is that of If-Match, if there is one: tags with commas between them, or `*` for any.
 * Throws SETTINGS_CHANGED.
 */
export function checkMatch(header: string | undefined, settings: () => SwitchSettings): void {
  if (header === undefined || header.trim() === '*') return;
  const tags = header.split(',').map((tag) => tag.trim());
  if (!tags.includes(tagOf(settings()))) throw failure('settings-changed');
}
