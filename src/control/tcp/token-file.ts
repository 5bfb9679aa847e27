/**
 * Tokens of requests over TCP, each in a file of its own that nobody else may read. One that is not
 * there is made, of 256 random bits, and stays for the next start.
 *
 * Runs on the event loop's thread, once at the start, before the process confines itself.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { failure } from '../../model/errors.ts';

const randomBytesMade = 32;
/** Fewer could be guessed. */
const charactersMin = 16;
const charactersMax = 512;
/** Any right of the group or of others. */
const othersRights = 0o077;

/** Returns `token`; `what` names it. Throws BAD_OPTION. */
export function checkToken(token: string, what: string): string {
  const isVisible = /^[\x21-\x7e]*$/.test(token);
  if (isVisible && token.length >= charactersMin && token.length <= charactersMax) return token;
  throw failure('token-text', { what, min: charactersMin, max: charactersMax });
}

/**
 * The token in the file at `path`, which is made if it is not there, as its folder is. Throws
 * BAD_OPTION for a file that others may read, that is not one, or that holds no token.
 */
export function tokenIn(path: string): string {
  return read(path) ?? make(path);
}

/** As tokenIn(), for who has to know it: none is made. */
export function knownToken(path: string): string {
  const token = read(path);
  if (token !== undefined) return token;
  throw failure('listen-file', { what: 'token file', path, cause: 'there is no such file' });
}

/** Undefined if there is no file. */
function read(path: string): string | undefined {
  let fd: number;
  try {
    // A pipe would have the switch wait for its other end.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw failure('listen-file', { what: 'token file', path, cause: message }, { cause });
  }
  try {
    const stats = fstatSync(fd);
    const isOwn = stats.uid === process.geteuid!() || stats.uid === 0;
    if (!stats.isFile() || !isOwn) throw failure('token-no-file', { path });
    if ((stats.mode & othersRights) !== 0) {
      throw failure('token-open', { path, mode: (stats.mode & 0o777).toString(8) });
    }
    // Longer by what may be behind it, such as the end of its line, and one to see that it is.
    const bytes = Buffer.alloc(charactersMax + 3);
    const text = bytes.toString('latin1', 0, readSync(fd, bytes));
    return checkToken(text.trim(), `what is in ${path}`);
  } finally {
    closeSync(fd);
  }
}

function make(path: string): string {
  const token = randomBytes(randomBytesMade).toString('base64url');
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(path, 'wx', 0o600);
    try {
      writeSync(fd, `${token}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw failure('token-unmade', { path, cause: (cause as Error).message }, { cause });
  }
  return token;
}
