/**
 * This switch under attack, as its operator runs it: a stage (stage.ts) around a switch with a
 * control socket.
 *
 * What is asked of every attack: attack() brings an attacker up and, when it has struck, holds the
 * switch to all of it: nothing more held than before, the next guest served, every frame of the
 * bystanders whole and in its turn. The same switch stands from the first attack of a file to the
 * last.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { describe } from '../../src/cli/words/event-log.ts';
import { ControlClient } from '../../src/control/client.ts';
import type { MachinePortStatus } from '../../src/control/protocol.ts';
import type { EventsLost, SwitchEvent } from '../../src/index.ts';
import type { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { destinationOf, frameBetween, numberOf } from '../support/ethernet.ts';
import {
  attackerNumber,
  connectMachines,
  fromAttacker,
  type Holdings,
  isGreeting,
  type Machines,
  patienceMs,
  peerNumber,
  portNames,
  Stage,
} from './stage.ts';

/** More than all cases of a file take. */
const limitMs = 3_600_000;
export const patience = { timeout: patienceMs, interval: 5 };

export class Arena extends Stage {
  readonly control: ControlClient;
  readonly #command: Command;
  readonly #folder: string;
  /** While nobody is on the attacked port. */
  readonly #idle: Holdings;
  /** What happened, as the control socket tells it: the log has only so many lines of a kind. */
  readonly #events: SwitchEvent[] = [];
  #read = 0;

  private constructor(
    command: Command,
    folder: string,
    paths: readonly string[],
    control: ControlClient,
    events: AsyncGenerator<SwitchEvent | EventsLost>,
    machines: Machines,
  ) {
    super({ pid: command.pid, paths, patienceMs }, machines);
    this.#command = command;
    this.#folder = folder;
    this.control = control;
    void this.#follow(events);
    this.#idle = this.holdings();
  }

  static async open(workers = 1): Promise<Arena> {
    const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
    const paths = portNames.map((name) => join(folder, `${name}.sock`));
    const controlPath = join(folder, 'control');
    const options = ['--control', controlPath, '--workers', String(workers)];
    const command = await Command.start(paths, options, { limitMs });
    await command.said(`taking requests on ${controlPath}`);
    const control = await ControlClient.connect(controlPath);
    const machines = await connectMachines({ pid: command.pid, paths, patienceMs });
    const events = control.events();
    const first = events.next();
    // Until it is told of one, it may not be listening yet.
    let isTold = false;
    void first.then(() => {
      isTold = true;
    });
    await vi.waitFor(async () => {
      await control.change({ heal: true });
      expect(isTold).toBe(true);
    }, patience);
    return new Arena(command, folder, paths, control, events, machines);
  }

  /**
   * One attack from its beginning to the last trace of it: what `strike` does and waits for, then
   * nothing more held than without it, frames both ways for the next guest on the port, and nothing
   * that the bystanders noticed.
   */
  async attack(strike: () => Promise<void>): Promise<void> {
    await this.#catchUp();
    this.#read = this.#events.length;
    for (const step of [strike, () => this.#expectServed()]) {
      try {
        await step();
      } finally {
        this.dismiss();
      }
      await this.#expectNothingLeft();
    }
    await this.goOn();
  }

  /** Returns after `count` more bursts have arrived whole and in order, both ways. */
  override async goOn(count = 1): Promise<void> {
    await super.goOn(count);
    expect(this.flood.damage).toEqual({ lost: 0, damaged: 0, strays: 0 });
  }

  /** What the switch has told of at level warn or error since the attack began. */
  get warnings(): string[] {
    return (
      this.#events
        .slice(this.#read)
        // Its number of bytes has become text on the way.
        .filter(({ type }) => type !== 'memory')
        .map(describe)
        .filter(({ level }) => level === 'warn' || level === 'error')
        .map(({ message }) => message)
    );
  }

  /** The one warning of this attack, as soon as it is there. */
  async warning(): Promise<string> {
    await vi.waitFor(() => expect(this.warnings.length).toBeGreaterThan(0), patience);
    await this.#catchUp();
    expect(this.warnings).toHaveLength(1);
    return this.warnings[0]!;
  }

  /** How the attacked port stands. */
  async status(): Promise<MachinePortStatus> {
    const { ports } = await this.control.status();
    return ports.find(({ name }) => name === portNames[0]) as MachinePortStatus;
  }

  /**
   * Frames of the attacked port that were dropped, by reason, of those reasons that an attack has.
   */
  async drops(): Promise<Record<string, number>> {
    const { notReady: _, ...drops } = (await this.status()).counters.drops;
    return drops as Record<string, number>;
  }

  /** The next frame of an attacker at the peer. */
  nextAtPeer(): Promise<Uint8Array> {
    return receiveFor(this.peer, fromAttacker());
  }

  async close(): Promise<void> {
    // One that hangs would not hear of anything else.
    let signal: NodeJS.Signals = 'SIGKILL';
    try {
      await this.goOn();
      await this.flood.stop();
      signal = 'SIGTERM';
    } finally {
      this.disperse();
      this.control.close();
      const exit = await this.#command.stop(signal);
      rmSync(this.#folder, { recursive: true });
      if (signal === 'SIGTERM') expect(exit).toMatchObject({ status: 0, stderr: '' });
      else console.error(`the switch said:\n${exit.stderr}`);
    }
  }

  /** Returns once all that has happened is among the events: the last is one of our own. */
  async #catchUp(): Promise<void> {
    const healed = () => this.#events.filter(({ type }) => type === 'healed').length;
    const before = healed();
    await this.control.change({ heal: true });
    await vi.waitFor(() => expect(healed()).toBeGreaterThan(before), patience);
  }

  async #follow(events: AsyncGenerator<SwitchEvent | EventsLost>): Promise<void> {
    try {
      for await (const event of events) if (event.type !== 'events-lost') this.#events.push(event);
    } catch {
      // The switch ended: whoever waits for an event says so.
    }
  }

  async #expectNothingLeft(): Promise<void> {
    await vi.waitFor(async () => {
      // One connection to the control socket is part of what is held, and may have been idle too
      // long.
      await this.status();
      expect(this.holdings()).toEqual(this.#idle);
    }, patience);
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
}

/** The next frame that goes where this one goes; greetings are passed over. */
async function receiveFor(to: TestGuest, frame: Uint8Array): Promise<Uint8Array> {
  let received: Uint8Array;
  do received = await to.receive();
  while (destinationOf(received) !== destinationOf(frame) || isGreeting(received));
  return received;
}

/** The next frame for this guest is this one; what is flooded to everybody is passed over. */
export async function expectFrame(to: TestGuest, frame: Uint8Array): Promise<void> {
  const received = await receiveFor(to, frame);
  expect(numberOf(received)).toBe(numberOf(frame));
  expect(Buffer.compare(received, frame)).toBe(0);
}
