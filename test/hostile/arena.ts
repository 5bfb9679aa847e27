/**
 * A switch as a process of its own and the machines around it: one port to attack on, a peer that
 * talks to whoever is there, and two bystanders that flood each other with numbered frames all along.
 *
 * What is asked of every attack, and why it can be asked here: the switch is another process, so that
 * its death, its open files, mappings and threads are its own and nobody else's; what it writes is what
 * its operator reads. attack() brings an attacker up and, when the attacker has struck, holds the
 * switch to all of it. The same switch stands from the first attack of a file to the last.
 */

import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import type { MachinePortStatus } from '../../src/control/protocol.ts';
import { TestGuest, type TestGuestOptions } from '../../src/testing/index.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { Command } from '../support/command.ts';
import { destinationOf, frameBetween, numberOf } from '../support/ethernet.ts';

const attacked = 'attacked';
const portNames = [attacked, 'peer', 'bystander1', 'bystander2'] as const;
/** The machines' numbers in their addresses. */
export const attackerNumber = 0;
export const peerNumber = 1;
const [oneNumber, otherNumber] = [2, 3];
const burstFrames = 32;
/** More than a case of this suite takes. */
const limitMs = 240_000;

export type AttackerOptions = Omit<TestGuestOptions, 'path'>;

/** What the process holds. */
interface Holdings {
  readonly files: readonly string[];
  readonly guestMappings: number;
  readonly threads: number;
}

export class Arena {
  readonly peer: TestGuest;
  readonly control: ControlClient;
  readonly #command: Command;
  readonly #folder: string;
  readonly #bystanders: readonly [TestGuest, TestGuest];
  readonly #flood: Promise<void>;
  /** While nobody is on the attacked port. */
  readonly #idle: Holdings;
  readonly #attackers: TestGuest[] = [];
  #bursts = 0;
  #stopping = false;
  #read = 0;

  private constructor(
    command: Command,
    folder: string,
    control: ControlClient,
    peer: TestGuest,
    bystanders: readonly [TestGuest, TestGuest],
  ) {
    this.#command = command;
    this.#folder = folder;
    this.control = control;
    this.peer = peer;
    this.#bystanders = bystanders;
    this.#idle = this.#holdings();
    this.#flood = this.#exchange();
    // Whoever looks learns of a failure; until then it is nobody's unhandled rejection.
    this.#flood.catch(() => {});
  }

  static async open(): Promise<Arena> {
    const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
    const path = (name: string) => join(folder, `${name}.sock`);
    const controlPath = join(folder, 'control');
    const command = await Command.start(portNames.map(path), ['--control', controlPath], {
      limitMs,
    });
    await command.said(`taking requests on ${controlPath}`);
    const control = await ControlClient.connect(controlPath);
    const connect = (name: string) =>
      TestGuest.connect({ path: path(name), memorySizeBytes: 4 << 20 });
    const peer = await connect('peer');
    const bystanders = [await connect('bystander1'), await connect('bystander2')] as const;
    const arena = new Arena(command, folder, control, peer, bystanders);
    // Once the switch knows them, nothing of theirs is flooded.
    await arena.goOn();
    // To itself, which the switch learns it from and hands to nobody.
    await peer.send(frameBetween(peerNumber, peerNumber));
    await peer.flush();
    return arena;
  }

  get path(): string {
    return join(this.#folder, `${attacked}.sock`);
  }

  /** A guest on the attacked port, which is served when this returns; it dies with the attack. */
  async connect(options: AttackerOptions = {}): Promise<TestGuest> {
    const guest = await TestGuest.connect({
      path: this.path,
      memorySizeBytes: 2 << 20,
      queueSize: 16,
      ...options,
    });
    this.#attackers.push(guest);
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    return guest;
  }

  /**
   * One attack from its beginning to the last trace of it: what `strike` does and waits for, then
   * nothing more held than without it, frames both ways for the next guest on the port, and nothing that the
   * bystanders noticed.
   */
  async attack(strike: () => Promise<void>): Promise<void> {
    this.#read = this.#command.stdout.length;
    for (const step of [strike, () => this.#expectServed()]) {
      try {
        await step();
      } finally {
        for (const guest of this.#attackers.splice(0)) guest.disconnect();
      }
      await this.#expectNothingLeft();
    }
    await this.goOn();
  }

  /** What the switch has written at level warn or error since the attack began, without the time. */
  get warnings(): string[] {
    const lines = this.#command.stdout.slice(this.#read).split('\n');
    return lines.flatMap((line) => /^\S+ (?:warn|error) (.*)$/.exec(line)?.[1] ?? []);
  }

  /** The one warning of this attack, as soon as it is there. */
  async warning(): Promise<string> {
    await vi.waitFor(() => expect(this.warnings.length).toBeGreaterThan(0), {
      timeout: 3000,
      interval: 5,
    });
    // Whatever else it had to say was said before it answered.
    await this.status();
    expect(this.warnings).toHaveLength(1);
    return this.warnings[0]!;
  }

  /** How the attacked port stands. */
  async status(): Promise<MachinePortStatus> {
    const { ports } = await this.control.status();
    return ports.find(({ name }) => name === attacked) as MachinePortStatus;
  }

  /** Frames of the attacked port that were dropped, by reason, of those reasons that an attack has. */
  async drops(): Promise<Record<string, number>> {
    const { notReady: _, ...drops } = (await this.status()).counters.drops;
    return drops as Record<string, number>;
  }

  /** Returns after `count` more bursts have arrived whole and in order, both ways. */
  async goOn(count = 1): Promise<void> {
    const goal = this.#bursts + count;
    while (this.#bursts < goal) {
      await Promise.race([this.#flood, new Promise(setImmediate)]);
    }
  }

  async close(): Promise<void> {
    try {
      await this.goOn();
      this.#stopping = true;
      await this.#flood;
    } finally {
      for (const guest of [this.peer, ...this.#bystanders]) guest.disconnect();
      this.control.close();
      const { status, stderr } = await this.#command.stop();
      rmSync(this.#folder, { recursive: true });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    }
  }

  async #expectNothingLeft(): Promise<void> {
    const limits = { timeout: 3000, interval: 5 };
    await vi.waitFor(async () => {
      // One connection to the control socket is part of what is held, and may have been idle too long.
      await this.status();
      expect(this.#holdings()).toEqual(this.#idle);
    }, limits);
  }

  /** The port serves a guest that behaves. */
  async #expectServed(): Promise<void> {
    const guest = await this.connect();
    const [there, back] = [
      frameBetween(attackerNumber, peerNumber, 0xfeed),
      frameBetween(peerNumber, attackerNumber, 2),
    ];
    // Whatever the peer was sent during the attack lies before it.
    await guest.send(there);
    while (Buffer.compare(await this.peer.receive(), there) !== 0);
    await this.peer.send(back);
    await expectFrame(guest, back);
  }

  #holdings(): Holdings {
    const folder = `/proc/${this.#command.pid}`;
    // The inode tells one eventfd from another, which may come and go; kinds and their number stay.
    const files = readdirSync(`${folder}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/fd/${fd}`).replace(/\[\d+\]/, '')];
      } catch {
        return [];
      }
    });
    const maps = readFileSync(`${folder}/maps`, 'utf8').split('\n');
    return {
      files: files.sort(),
      guestMappings: maps.filter((line) => line.includes('tsvswitch-test-guest')).length,
      threads: readdirSync(`${folder}/task`).length,
    };
  }

  async #exchange(): Promise<void> {
    const [one, other] = this.#bystanders;
    while (!this.#stopping) {
      const first = this.#bursts * burstFrames;
      await Promise.all([
        flood(one, oneNumber, other, otherNumber, first),
        flood(other, otherNumber, one, oneNumber, first),
      ]);
      this.#bursts++;
      // Others of this process get their turn.
      await new Promise(setImmediate);
    }
  }
}

/** A burst that has to arrive whole and in order. */
async function flood(
  from: TestGuest,
  fromNumber: number,
  to: TestGuest,
  toNumber: number,
  first: number,
): Promise<void> {
  const frames = Array.from({ length: burstFrames }, (_, i) =>
    frameBetween(fromNumber, toNumber, first + i, 60 + 4 * i),
  );
  await from.sendAll(frames);
  for (const frame of frames) await expectFrame(to, frame);
}

/** The next frame for this guest is this one; what is flooded to everybody is passed over. */
export async function expectFrame(to: TestGuest, frame: Uint8Array): Promise<void> {
  let received: Uint8Array;
  do received = await to.receive();
  while (destinationOf(received) !== destinationOf(frame));
  expect(numberOf(received)).toBe(numberOf(frame));
  expect(Buffer.compare(received, frame)).toBe(0);
}

export const fromAttacker = (number = 0, lengthBytes = 60) =>
  frameBetween(attackerNumber, peerNumber, number, lengthBytes);
export const toAttacker = (number = 0, lengthBytes = 60) =>
  frameBetween(peerNumber, attackerNumber, number, lengthBytes);
