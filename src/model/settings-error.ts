/** What is wrong with a document of settings, as an error. */

import { TsvswitchError } from './errors.ts';
import type { Finding, Path } from './findings.ts';
import { printable } from './wording.ts';

/** A document that does not fit: a sentence for each thing that is wrong, and the same as data. */
export class SettingsError extends TsvswitchError {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    const sentences = findings.map(({ path, sentence }) => `${pathText(path)}: ${sentence}`);
    super('BAD_OPTION', printable(sentences.join('; ')));
    this.findings = findings;
  }
}

/** Such as `ports.web1.mtu`. */
export function pathText(path: Path): string {
  return path.length === 0 ? 'settings' : path.join('.');
}
