/**
 * What a switch keeps between two runs: documents in a folder of its own, a file each.
 *
 *     NAME.json   {"document": NAME, "version": 1, "value": ...}
 *
 * A document is written beside the last one, forced to the disk and renamed over it, so that a
 * process that is killed, or a disk that is full, leaves the last one whole. What is read is
 * checked: a document that is damaged is put aside and counts as none, one of a later version stays
 * untouched for the program that wrote it.
 *
 * Nothing that forwards depends on these files: who cannot read or write one says so in a sentence
 * and goes on without it. Runs on the event loop's thread, which waits for the disk: documents are
 * small and written seldom.
 *
 * Sources: XDG Base Directory Specification; systemd.exec(5) "StateDirectory="; rename(2).
 */

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { failure, type TsvswitchError } from '../../model/errors.ts';

/** A kind of document. */
export interface StateDocument<Value> {
  /** Of its file, without .json. */
  readonly name: string;
  /** Raised when an older program cannot read it any more. */
  readonly version: number;
  /**
   * Makes a value of what was read, written by this version or an earlier one. Throws an error
   * whose message says what is wrong with it.
   */
  readonly read: (value: unknown, version: number) => Value;
}

interface Envelope {
  readonly document: string;
  readonly version: number;
  readonly value: unknown;
}

/** The name of a document that was put aside ends with it. */
const damaged = '.damaged';

export class StateFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the folder if it is not there. Throws STATE_UNUSABLE. */
  static open(path: string): StateFolder {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw unusable(path, cause);
    }
    return new StateFolder(path);
  }

  /**
   * What was written last, or undefined. Throws STATE_LATER for a document of a later version,
   * STATE_DAMAGED for one that nobody wrote so, which is put aside, and STATE_UNUSABLE.
   */
  read<Value>({ name, version, read }: StateDocument<Value>): Value | undefined {
    const path = this.#file(name);
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw unusable(path, cause);
    }
    let written: number | undefined;
    try {
      const envelope = envelopeOf(text, name);
      written = envelope.version;
      if (written <= version) return read(envelope.value, written);
    } catch (cause) {
      throw this.#putAside(path, cause);
    }
    throw failure('state-later-unread', { path, written, version });
  }

  /**
   * In place of what there is, which stays if this throws: STATE_LATER if a later version wrote it,
   * STATE_FULL, STATE_UNUSABLE.
   */
  write<Value>({ name, version }: StateDocument<Value>, value: Value): void {
    const path = this.#file(name);
    this.#refuseLater(path, name, version);
    const envelope: Envelope = { document: name, version, value };
    const next = `${path}.new`;
    try {
      const fd = openSync(next, 'w', 0o600);
      try {
        writeFileSync(fd, `${JSON.stringify(envelope)}\n`);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(next, path);
      this.#syncFolder();
    } catch (cause) {
      rmSync(next, { force: true });
      throw unusable(path, cause);
    }
  }

  #file(name: string): string {
    return join(this.path, `${name}.json`);
  }

  #refuseLater(path: string, name: string, version: number): void {
    let written: number;
    try {
      written = envelopeOf(readFileSync(path, 'utf8'), name).version;
    } catch {
      // There is none, or nothing that anybody could still use.
      return;
    }
    if (written <= version) return;
    throw failure('state-later-unwritten', { path, written, version });
  }

  #putAside(path: string, cause: unknown): TsvswitchError {
    const why = (cause as Error).message;
    try {
      renameSync(path, path + damaged);
    } catch (error) {
      return unusable(path, error);
    }
    return failure('state-damaged', { path, cause: why, aside: path + damaged }, { cause });
  }

  /** So that the new name is there after a power failure as well. */
  #syncFolder(): void {
    const fd = openSync(this.path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/**
 * Where the service manager wants state, or undefined; of several folders, which it may name, the
 * first.
 */
export function givenStateFolder(env: NodeJS.ProcessEnv): string | undefined {
  const [first] = (env.STATE_DIRECTORY ?? '').split(':');
  return first !== undefined && isAbsolute(first) ? first : undefined;
}

/** Where it is kept unless anybody says where. */
export function defaultStateFolder(env: NodeJS.ProcessEnv, uid: number): string {
  const given = givenStateFolder(env);
  if (given !== undefined) return given;
  if (uid === 0) return '/var/lib/tsvswitch';
  const base = env.XDG_STATE_HOME;
  // The specification says to ignore a relative value.
  const root = base?.startsWith('/') ? base : join(env.HOME || homedir(), '.local', 'state');
  return join(root, 'tsvswitch', 'switch');
}

/** Throws what is wrong with the file, which is not a word of this module's. */
function envelopeOf(text: string, name: string): Envelope {
  if (text.trim() === '') throw new Error('it is empty');
  const { document, version, value } = (JSON.parse(text) ?? {}) as Partial<Envelope>;
  if (document !== name) throw new Error(`it says that it is ${JSON.stringify(document)}`);
  if (!Number.isSafeInteger(version) || version! < 1) throw new Error('it has no version');
  return { document, version: version!, value };
}

/** Why a file of a state folder cannot be made, read or written. */
export function unusable(path: string, cause: unknown): TsvswitchError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return failure('state-disk-full', { path }, { cause });
  }
  const uid = process.getuid!();
  return failure('state-unusable', { path, cause: message, uid }, { cause });
}
