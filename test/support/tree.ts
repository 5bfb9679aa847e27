/** The files of this repository, for tests that look at all of them. */

import { existsSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { execaSync } from 'execa';

const sourceExtensions = ['.ts', '.mjs', '.cc', '.h'];

/** What is in the repository, or would be with the next commit. */
export const textFiles = execaSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard'],
  {
    lines: true,
  },
).stdout.filter((file) => existsSync(file));
export const sources = textFiles.filter((file) => sourceExtensions.includes(extname(file)));

/** A file's name without what it ends in: `fdb` of fdb.h. */
export function stem(file: string): string {
  return basename(file, extname(file));
}
