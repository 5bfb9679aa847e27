/**
 * Where a service manager keeps one session: a pair of connected sockets, both of which it holds,
 * so that a bundle which was sent into one waits in the other, with its fds, whoever dies.
 *
 *     keep():   this process ── bundle ──► [ manager: both ends, the bundle in between ]
 *     restart:  [ manager ] ── both ends ──► next process, which reads the bundle
 *
 * A new bundle is sent before the last one is taken out, so one that is whole is always there. The
 * manager keeps two fds for a session, however many it has.
 *
 * The first fd of a bundle is a file with one word, mapped here: not 0 while the session is in the
 * midst of something. A process that is killed leaves it as it is.
 *
 * Runs on the event loop's thread. Sources: unix(7) SCM_RIGHTS; systemd's "File Descriptor Store".
 */

import { randomBytes } from 'node:crypto';
import { readSync } from 'node:fs';
import { native } from '../../native/addon.ts';
import { type Bundle, BundleReader, sendBundle } from '../../native/bundle.ts';
import type { SessionPlace, StoredAs, StoredSession } from '../../native/stored-sessions.ts';
import type { Notifier } from './notifier.ts';

/** Of the names under which the ends are kept. */
export const sessionPrefix = 'session ';
const wordBytes = 4;

export class StoredPlace implements SessionPlace {
  readonly outlives = true;
  readonly #notifier: Notifier;
  readonly #name: string;
  readonly #ends: readonly [number, number];
  readonly #reader: BundleReader;
  readonly #wordFd: number;
  readonly #word: Uint32Array;
  /** Bundles that are kept. */
  #inside = 0;
  #open = true;

  private constructor(
    notifier: Notifier,
    name: string,
    ends: readonly [number, number],
    wordFd: number,
  ) {
    this.#notifier = notifier;
    this.#name = name;
    this.#ends = ends;
    this.#reader = new BundleReader(ends[1]);
    this.#wordFd = wordFd;
    this.#word = new Uint32Array(native().mapFile(wordFd, wordBytes));
  }

  /** A new one, in which nothing is kept yet. Throws SYSTEM. */
  static make(notifier: Notifier): StoredPlace {
    const name = sessionPrefix + randomBytes(8).toString('hex');
    const wordFd = native().memfdCreate('tsvswitch-session', wordBytes);
    const ends = native().socketPair();
    for (const end of ends) notifier.store(name, end);
    return new StoredPlace(notifier, name, ends, wordFd);
  }

  /**
   * What an earlier process left under `name`; undefined, and closed, if nothing whole is there.
   * Takes over the fds.
   */
  static adopt(
    notifier: Notifier,
    name: string,
    fds: readonly number[],
  ): StoredSession | undefined {
    const bundle = lastBundle(fds);
    const [wordFd, ...rest] = bundle?.fds ?? [];
    if (bundle === undefined || wordFd === undefined || fds.length !== 2) {
      for (const fd of [...fds, ...(bundle?.fds ?? [])]) native().closeFd(fd);
      notifier.forget(name);
      return undefined;
    }
    const isUnsettled = readWord(wordFd) !== 0;
    // Which end is which makes no difference: what was in them is taken out.
    const place = new StoredPlace(notifier, name, [fds[0]!, fds[1]!], wordFd);
    const left = { text: bundle.text, fds: rest };
    // Until its port says more, the next process would find the same.
    place.#send(left);
    return { place, bundle: left, isUnsettled };
  }

  /** Goes on with one that another process has left, with a bundle in it. Takes over the fds. */
  static goOn(notifier: Notifier, { name, fds }: StoredAs): StoredPlace {
    const [first, second, wordFd] = fds as [number, number, number];
    const place = new StoredPlace(notifier, name, [first, second], wordFd);
    place.#inside = 1;
    return place;
  }

  get asStored(): StoredAs {
    const fds = [...this.#ends, this.#wordFd].map((fd) => native().dupFd(fd));
    return { name: this.#name, fds };
  }

  unsettled(): void {
    this.#word[0] = 1;
  }

  settled(): void {
    this.#word[0] = 0;
  }

  keep(bundle: Bundle): boolean {
    const kept = this.#send(bundle);
    if (kept) this.settled();
    return kept;
  }

  leave(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const fd of [...this.#ends, this.#wordFd]) native().closeFd(fd);
  }

  close(): void {
    if (!this.#open) return;
    this.#notifier.forget(this.#name);
    // The manager takes its time; nothing that is still in there is to live for so long.
    this.#takeOut(0);
    this.leave();
  }

  /** Before the last one is taken out: of two, the later one counts. */
  #send({ text, fds }: Bundle): boolean {
    let isSent: boolean;
    try {
      isSent = sendBundle(this.#ends[0], { text, fds: [this.#wordFd, ...fds] });
    } catch {
      // As many fds are under way as this user may have there.
      isSent = false;
    }
    if (isSent) {
      this.#inside += 1;
      this.#takeOut(1);
    } else {
      // What is there is not what is, and may be followed by a part.
      this.unsettled();
    }
    return isSent;
  }

  /** All but the last `left` bundles, of which there are two at most. */
  #takeOut(left: number): void {
    while (this.#inside > left) {
      const read = this.#reader.read();
      if (typeof read === 'string') break;
      for (const fd of read.fds) native().closeFd(fd);
      this.#inside -= 1;
    }
  }
}

/** Of the bundles that wait in one of these sockets. */
function lastBundle(fds: readonly number[]): Bundle | undefined {
  let last: Bundle | undefined;
  for (const fd of fds) {
    const reader = new BundleReader(fd);
    for (;;) {
      const read = reader.read();
      if (typeof read === 'string') break;
      for (const old of last?.fds ?? []) native().closeFd(old);
      last = read;
    }
    reader.close();
  }
  return last;
}

function readWord(fd: number): number {
  const word = Buffer.alloc(wordBytes, 1);
  readSync(fd, word, 0, wordBytes, 0);
  return word.readUInt32LE(0);
}
