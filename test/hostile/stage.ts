/**
 * The machines around a backend under attack, whosever it is: a peer that talks to whoever is on
 * the attacked port, two bystanders that flood each other (flood.ts), and the attackers. And what
 * can be seen of the backend from outside: its open files, its mappings of guest memory and its
 * threads.
 *
 * The backend is another process, so that its death and what it holds are its own and nobody
 * else's.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { TsvswitchError } from '../../src/model/errors.ts';
import { TestGuest, type TestGuestOptions, VhostUserFrontend } from '../../src/testing/index.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { Flood, greetingNumber } from './flood.ts';
import { NotForwarded, NotOffered } from './outcome.ts';
import { type Format, featuresOf } from './raw-queue.ts';

export const portNames = ['attacked', 'peer', 'bystander1', 'bystander2'] as const;
/** The machines' numbers in their addresses. */
export const attackerNumber = 0;
export const peerNumber = 1;
const [oneNumber, otherNumber] = [2, 3];
/** A frame that is sent before a port is up is lost: another one is, after this long. */
const greetingMs = 100;
/** For what has to happen, on the slowest machine. */
export const patienceMs = 60_000;
const dialsMax = 100;

export type AttackerOptions = Omit<TestGuestOptions, 'path' | 'features'> & {
  readonly features?: bigint;
};

/** Somebody's process, and where its ports are, in the order of `portNames`. */
export interface Backend {
  readonly pid: number;
  readonly paths: readonly string[];
}

/** A backend, and how long it may take for what has to happen. */
export interface AttackedBackend extends Backend {
  readonly patienceMs: number;
}

/** What the process holds. */
export interface Holdings {
  readonly files: readonly string[];
  readonly guestMappings: number;
  readonly threads: number;
}

export interface Machines {
  readonly peer: TestGuest;
  readonly bystanders: readonly [TestGuest, TestGuest];
}

/** All but the attackers, each heard by the others. */
export async function connectMachines({ paths, patienceMs }: AttackedBackend): Promise<Machines> {
  const guests: TestGuest[] = [];
  try {
    for (const path of paths.slice(1)) {
      const memorySizeBytes = 4 << 20;
      guests.push(await TestGuest.connect({ path, memorySizeBytes, timeoutMs: patienceMs }));
    }
    const [peer, one, other] = guests as [TestGuest, TestGuest, TestGuest];
    await greet(one, oneNumber, other, otherNumber, patienceMs);
    await greet(other, otherNumber, one, oneNumber, patienceMs);
    // To itself, which a switch learns it from and hands to nobody.
    await peer.send(frameBetween(peerNumber, peerNumber));
    await peer.flush();
    return { peer, bystanders: [one, other] };
  } catch (error) {
    for (const guest of guests) guest.disconnect();
    throw error;
  }
}

export class Stage {
  readonly backend: AttackedBackend;
  readonly peer: TestGuest;
  readonly flood: Flood;
  readonly #machines: Machines;
  readonly #attackers: TestGuest[] = [];
  readonly #frontends: VhostUserFrontend[] = [];

  constructor(backend: AttackedBackend, machines: Machines) {
    this.backend = backend;
    this.#machines = machines;
    this.peer = machines.peer;
    const [one, other] = machines.bystanders;
    this.flood = new Flood(
      { guest: one, number: oneNumber },
      { guest: other, number: otherNumber },
      backend.patienceMs,
    );
  }

  get path(): string {
    return this.backend.paths[0]!;
  }

  /** A guest on the attacked port, which is served when this returns; it dies with the attack. */
  async connect(options: AttackerOptions = {}): Promise<TestGuest> {
    const guest = await TestGuest.connect({
      path: this.path,
      memorySizeBytes: 2 << 20,
      queueSize: 16,
      timeoutMs: this.backend.patienceMs,
      ...options,
    });
    this.#attackers.push(guest);
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    return guest;
  }

  /** The same with rings of this format; throws NotOffered. */
  async attacker(format: Format, options: AttackerOptions = {}): Promise<TestGuest> {
    const guest = await this.connect({ features: featuresOf(format), ...options });
    if (format === 'packed' && !guest.has('VIRTIO_F_RING_PACKED')) throw new NotOffered();
    return guest;
  }

  /**
   * A connection to the attacked port about which nothing was said yet; it dies with the attack,
   * too.
   */
  async dial(): Promise<VhostUserFrontend> {
    for (let attempt = 1; ; attempt++) {
      try {
        const timeoutMs = this.backend.patienceMs;
        const frontend = VhostUserFrontend.connect({ path: this.path, timeoutMs });
        this.#frontends.push(frontend);
        return frontend;
      } catch (error) {
        // So many at once that the socket's backlog is full.
        if (attempt === dialsMax) throw error;
      }
      await this.goOn();
    }
  }

  /** Returns once frames of this attacker arrive at the peer. */
  hear(guest: TestGuest): Promise<void> {
    return greet(guest, attackerNumber, this.peer, peerNumber, this.backend.patienceMs);
  }

  /** Returns once frames of the peer arrive at this attacker. */
  reach(guest: TestGuest): Promise<void> {
    return greet(this.peer, peerNumber, guest, attackerNumber, this.backend.patienceMs);
  }

  /** Waits for this frame at the peer, whatever comes before it; throws NotForwarded. */
  async arrives(frame: Uint8Array): Promise<void> {
    const wanted = (received: Uint8Array) => Buffer.compare(received, frame) === 0;
    if (!(await found(this.peer, wanted, this.backend.patienceMs))) throw new NotForwarded();
  }

  /**
   * Returns after `count` more bursts between the bystanders. A single worker has looked at all its
   * ports in the meantime.
   */
  goOn(count = 1): Promise<void> {
    return this.flood.goOn(count);
  }

  /** Whether the backend has ended the session of an attacker. */
  get hasRefused(): boolean {
    const frontends = [...this.#frontends, ...this.#attackers.map(({ frontend }) => frontend)];
    return frontends.some(({ end }) => end?.code === 'DISCONNECTED');
  }

  /** Ends all attackers as a machine ends that is killed. */
  dismiss(): void {
    for (const guest of this.#attackers.splice(0)) guest.disconnect();
    for (const frontend of this.#frontends.splice(0)) frontend.close();
  }

  holdings(): Holdings {
    return holdingsOf(this.backend.pid);
  }

  /** Everybody leaves. */
  disperse(): void {
    const { peer, bystanders } = this.#machines;
    for (const guest of [peer, ...bystanders]) guest.disconnect();
    this.dismiss();
  }
}

export function holdingsOf(pid: number): Holdings {
  const folder = `/proc/${pid}`;
  // The inode tells one eventfd from another, which may come and go; kinds and their number stay.
  const files = readdirSync(`${folder}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`${folder}/fd/${fd}`).replace(/\[\d+\]/, '')];
    } catch {
      return [];
    }
  });
  const maps = readFileSync(`${folder}/maps`, 'utf8').split('\n');
  // Sanitizers have a look at the process and its code now and then.
  const code = maps.flatMap((line) => / r-xp .* (\/.*)$/.exec(line)?.[1] ?? []);
  return {
    files: files.filter((file) => !file.startsWith('/proc/') && !code.includes(file)).sort(),
    // Names that TestGuest and the attacks give to memory.
    guestMappings: maps.filter((line) => /tsvswitch-(?:test-)?guest|memfd:hostile/.test(line))
      .length,
    threads: readdirSync(`${folder}/task`).length,
  };
}

/** Returns once a frame from one machine arrives at the other. */
async function greet(
  from: TestGuest,
  fromNumber: number,
  to: TestGuest,
  toNumber: number,
  limitMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  const greeting = frameBetween(fromNumber, toNumber, greetingNumber);
  const wanted = (frame: Uint8Array) => Buffer.compare(frame, greeting) === 0;
  do {
    await from.send(greeting);
    if (await found(to, wanted, greetingMs)) return;
  } while (performance.now() < deadlineMs);
  throw new NotForwarded();
}

/** Whether a frame that is wanted arrives in time; those before it are thrown away. */
async function found(
  guest: TestGuest,
  isWanted: (frame: Uint8Array) => boolean,
  limitMs: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + limitMs;
  try {
    for (;;) {
      const timeoutMs = Math.max(0, deadlineMs - performance.now());
      if (isWanted(await guest.receive({ timeoutMs }))) return true;
    }
  } catch (error) {
    if ((error as TsvswitchError).code === 'TIMEOUT') return false;
    throw error;
  }
}

/** Whether a machine sent this frame only to find out whether it arrives. */
export function isGreeting(frame: Uint8Array): boolean {
  return numberOf(frame) === greetingNumber;
}

export const fromAttacker = (number = 0, lengthBytes = 60) =>
  frameBetween(attackerNumber, peerNumber, number, lengthBytes);
export const toAttacker = (number = 0, lengthBytes = 60) =>
  frameBetween(peerNumber, attackerNumber, number, lengthBytes);
