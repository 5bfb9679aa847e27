/** How every error of the command reads. */

import { expect } from 'vitest';
import type { Exit } from './command.ts';

/** One sentence for people: no stack trace, and only one line of it. */
export function expectSentence({ stderr, stdout }: Exit, pattern: RegExp): void {
  const [sentence, ...rest] = stderr.trimEnd().split('\n');
  expect(sentence).toMatch(pattern);
  expect(sentence).toMatch(/^tsvswitch: /);
  // Wrong usage also says where the options are listed.
  expect(rest.join('\n')).toMatch(/^(\(tsvswitch --help lists the options\))?\s*$/);
  expect(stdout).not.toMatch(/\bat .*\.js:\d+/);
}
