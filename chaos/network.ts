/**
 * The network that things happen to: a switch as a process of its own, simulated guests that flood
 * each other (traffic.ts), and a real machine that is pinged if one is wanted.
 *
 *     guest 0 ─┐              ┌─ guest 2         machine ─┐
 *              ├─ the switch ─┤                           ├─ another bridge of the same switch
 *     guest 1 ─┘              └─ guest 3         pinger  ─┘
 *
 * An event disturbs the flows of the guests it happens to, happens, and ends when all is settled.
 * What the switch holds is measured at the begin of each of its lives, and has to be the same
 * before its end.
 */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { NetworkChange } from '#tsvswitch/index.js';
import { type Action, type ChaosEvent, firstSettings, type Settings } from './event.ts';
import { type Flow, Violation } from './flow.ts';
import { machinesBridge, PingedMachine } from './pinged-machine.ts';
import { type Holdings, SwitchLife } from './switch-life.ts';
import { limitMs, nameOf, numbers, Traffic, visitorNumber } from './traffic.ts';

/** What a run has come to. */
export interface Tally {
  readonly framesArrived: number;
  readonly pingsAnswered: number;
  /** With an excuse. */
  readonly framesLost: number;
  readonly framesRepeated: number;
  readonly switchLives: number;
  /** Of the switch itself, at the begin and the end of its last life. */
  readonly ownBytes: readonly [number, number];
  readonly holdings: Holdings;
}

/** What the switch holds at one moment. */
export interface Sample {
  readonly fds: number;
  readonly threads: number;
  readonly guestMappings: number;
  readonly ownBytes: number;
}

/**
 * What the switch may add to its own memory in one life; Node gives its heap back when it likes.
 */
export const ownGrowthMiBDefault = 64;

/** Of one life of the switch, in which none goes away. */
const workersMax = 6;
/** What each of them sleeps on. */
const workerFiles = ['anon_inode:[eventpoll]', 'anon_inode:[eventfd]'];

export class ChaosNetwork {
  readonly #folder = mkdtempSync(join(tmpdir(), 'chaos-'));
  readonly #traffic = new Traffic(this.#folder);
  #machine: PingedMachine | undefined;
  #life: SwitchLife | undefined;
  #lives = 0;
  #held: Holdings | undefined;
  #ownBytesFirst = 0;
  /**
   * Whoever ends this process takes its children along; this is for what lies in the file system.
   */
  readonly #removeFolder = () => rmSync(this.#folder, { recursive: true, force: true });

  readonly #ownGrowthMiBMax: number;

  private constructor(ownGrowthMiBMax: number) {
    this.#ownGrowthMiBMax = ownGrowthMiBMax;
    process.once('exit', this.#removeFolder);
  }

  /** Returns when frames flow both ways between all guests. */
  static async open(
    withMachine: boolean,
    ownGrowthMiBMax = ownGrowthMiBDefault,
  ): Promise<ChaosNetwork> {
    const network = new ChaosNetwork(ownGrowthMiBMax);
    try {
      await network.#start(withMachine);
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** Throws the Violation that this or something before it has led to. */
  async perform({ afterFrames, actions }: ChaosEvent): Promise<void> {
    const traffic = this.#traffic;
    const goal = traffic.arrived + afterFrames;
    await traffic.until('frames to flow', () => traffic.arrived >= goal);
    const disturbed = actions.flatMap((action) => this.#flowsDisturbedBy(action));
    for (const flow of disturbed) flow.disturb();
    await Promise.all(actions.map((action) => this.#act(action)));
    await traffic.settle(disturbed);
    if (actions.some(({ kind }) => kind === 'restart')) await this.#beginLife();
  }

  /** Holds the switch to what it held at the begin of its life. */
  async finish(): Promise<Tally> {
    await this.#endLife();
    const pings = this.#machine?.flow;
    const flows = [...this.#traffic.allFlows, ...(pings === undefined ? [] : [pings])];
    const sum = (count: (flow: Flow) => number) =>
      flows.reduce((all, flow) => all + count(flow), 0);
    return {
      framesArrived: this.#traffic.arrived,
      pingsAnswered: pings?.expected ?? 0,
      framesLost: sum(({ lost }) => lost),
      framesRepeated: sum(({ repeated }) => repeated),
      switchLives: this.#lives,
      ownBytes: [this.#ownBytesFirst, this.#switch.ownBytes],
      holdings: this.#held!,
    };
  }

  /** In whatever state it is. */
  async close(): Promise<void> {
    this.#traffic.end();
    await this.#machine?.close();
    await this.#life?.end('SIGTERM');
    this.#removeFolder();
    process.off('exit', this.#removeFolder);
  }

  get framesArrived(): number {
    return this.#traffic.arrived;
  }

  async sample(): Promise<Sample> {
    const { files, threads, guestMappings } = await this.#switch.holdings();
    return { fds: files.length, threads, guestMappings, ownBytes: this.#switch.ownBytes };
  }

  /** Adds a port that nothing happens to, and returns its socket; to be removed before finish(). */
  async addPort(name: string, bridge: string): Promise<string> {
    const path = join(this.#folder, `${name}.sock`);
    await this.#switch.control.addPort({ path, bridge });
    return path;
  }

  async removePort(name: string): Promise<void> {
    await this.#switch.control.removePort(name);
  }

  /**
   * Records what goes over the port of a guest while something is done; how many bytes it came to.
   */
  async recorded(guest: number, act: () => Promise<void>): Promise<number> {
    const ending = new AbortController();
    const packets = await this.#switch.control.capture(nameOf(guest), ending.signal);
    let bytes = 0;
    packets.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    const ended = once(packets, 'end');
    await act();
    ending.abort();
    await ended;
    return bytes;
  }

  /**
   * Changes links without telling the flows, and waits until they have gone on, or failed by it.
   */
  async sabotage(change: NetworkChange): Promise<void> {
    await this.#switch.control.change(change);
    await this.#traffic.allGoOn();
  }

  get #switch(): SwitchLife {
    if (this.#life === undefined) throw new Error('there is no switch');
    return this.#life;
  }

  async #start(withMachine: boolean): Promise<void> {
    const traffic = this.#traffic;
    if (withMachine) {
      this.#machine = await PingedMachine.prepare(this.#folder, (violation) =>
        traffic.fail(violation),
      );
    }
    for (const flow of traffic.flows) flow.disturb();
    await this.#startSwitch(firstSettings);
    await Promise.all(traffic.stations.map((station, number) => station.come(number % 2 === 1)));
    await this.#machine?.pinger.come(false);
    this.#machine?.start();
    await traffic.settle(traffic.flows);
    await this.#beginLife();
  }

  #flowsDisturbedBy(action: Action): readonly Flow[] {
    switch (action.kind) {
      case 'die':
      case 'reboot':
      case 'reconnect':
      case 'remove-port':
        return [...this.#traffic.flowsFrom(action.guest), ...this.#traffic.flowsTo(action.guest)];
      case 'lose':
        return [this.#traffic.flow(action.from, action.to)];
      case 'partition':
        return this.#flowsAcross(action.sides);
      case 'restart':
        return this.#traffic.flows;
      default:
        return [];
    }
  }

  #flowsAcross(sides: readonly (readonly number[])[]): Flow[] {
    const sideOf = (guest: number) => sides.findIndex((side) => side.includes(guest));
    return numbers.flatMap((from) =>
      numbers.filter((to) => sideOf(to) !== sideOf(from)).map((to) => this.#traffic.flow(from, to)),
    );
  }

  async #act(action: Action): Promise<void> {
    switch (action.kind) {
      case 'die': {
        const station = this.#traffic.stations[action.guest]!;
        station.vanish();
        await this.#traffic.floodInto(action.guest, action.awayMs);
        return station.come(action.packed);
      }
      case 'reboot': {
        const station = this.#traffic.stations[action.guest]!;
        await station.leave();
        return station.come(action.packed);
      }
      case 'reconnect':
        return this.#traffic.stations[action.guest]!.detach()();
      case 'hot-plug':
        return this.#traffic.stations[action.guest]!.hotPlug(action.regions, () =>
          this.#traffic.someGoOn(action.guest),
        );
      case 'remove-port':
        return this.#removePort(action.guest, action.awayMs);
      case 'visit':
        return this.#visit(action.guest, action.packed);
      case 'delay':
        return this.#delay(action.from, action.to, action.delayMs);
      case 'lose':
        return this.#lose(action.from, action.to, action.loss, action.awayMs);
      case 'partition':
        return this.#partition(action.sides);
      case 'add-worker':
        return this.#addWorker();
      case 'restart':
        return this.#restart(action.signal, action.settings);
      case 'reset-machine':
        return this.#machine?.reset();
      case 'kill-machine':
        return this.#machine?.kill();
    }
  }

  async #removePort(guest: number, awayMs: number): Promise<void> {
    const comeBack = this.#traffic.stations[guest]!.detach();
    await this.#switch.control.removePort(nameOf(guest));
    await this.#traffic.floodInto(guest, awayMs);
    await this.#switch.control.addPort({ path: this.#traffic.socketOf(guest) });
    await comeBack();
  }

  async #visit(guest: number, packed: boolean): Promise<void> {
    await this.#switch.control.addPort({ path: this.#traffic.socketOf(visitorNumber) });
    await this.#traffic.visit(guest, packed);
    await this.#switch.control.removePort(nameOf(visitorNumber));
  }

  /** Nothing may be under way when a delay begins or ends: what comes behind it would pass it. */
  async #delay(from: number, to: number, delayMs: number): Promise<void> {
    const flow = this.#traffic.flow(from, to);
    const link = { from: nameOf(from), to: nameOf(to) };
    for (const impairment of [{ delayMs, jitterMs: delayMs / 2 }, {}]) {
      await this.#traffic.drain(flow);
      await this.#switch.control.change({ link, impairment });
      flow.resume();
      this.#traffic.wake();
      await this.#traffic.goOn(flow);
    }
  }

  async #lose(from: number, to: number, loss: number, awayMs: number): Promise<void> {
    const link = { from: nameOf(from), to: nameOf(to) };
    await this.#switch.control.change({ link, impairment: { loss } });
    this.#traffic.flow(from, to).reopen();
    this.#traffic.wake();
    await sleep(awayMs);
    await this.#switch.control.change({ link, impairment: {} });
  }

  async #partition(sides: readonly (readonly number[])[]): Promise<void> {
    const traffic = this.#traffic;
    const cut = this.#flowsAcross(sides);
    await this.#switch.control.change({ partition: sides.map((side) => side.map(nameOf)) });
    for (const flow of cut) flow.cut();
    traffic.wake();
    await traffic.until('a window to be sent into the partition', () =>
      cut.every(({ room }) => room <= 0),
    );
    // Before the partition heals, all that was sent into it is to be through with the switch.
    for (const flow of traffic.flows) flow.pause();
    for (const station of traffic.stations) await station.flush();
    for (const flow of cut) flow.mend();
    await this.#switch.control.change({ heal: true });
    for (const flow of traffic.flows) flow.resume();
    traffic.wake();
  }

  async #addWorker(): Promise<void> {
    const { workers } = await this.#switch.control.status();
    if (workers.length >= workersMax) return;
    await this.#switch.control.addWorker();
    const { files, threads, guestMappings } = this.#held!;
    this.#held = {
      files: [...files, ...workerFiles].sort(),
      threads: threads + 1,
      guestMappings,
    };
  }

  async #restart(signal: 'SIGKILL' | 'SIGTERM', settings: Settings): Promise<void> {
    await this.#endLife();
    const comeBack = this.#traffic.stations.map((station) => station.detach());
    const pingerComesBack = this.#machine?.pinger.detach();
    this.#machine?.flow.disturb();
    await this.#switch.end(signal);
    if (signal === 'SIGKILL') {
      for (const flow of this.#traffic.allFlows) flow.crashed();
      this.#machine?.flow.crashed();
    }
    await this.#startSwitch(settings);
    await Promise.all(comeBack.map((back) => back()));
    await pingerComesBack?.();
    this.#machine?.recover();
  }

  async #startSwitch(settings: Settings): Promise<void> {
    this.#life = undefined;
    const places = {
      sockets: numbers.map((number) => this.#traffic.socketOf(number)),
      control: join(this.#folder, 'control'),
    };
    this.#life = await SwitchLife.start(places, settings, (violation) =>
      this.#traffic.fail(violation),
    );
    this.#lives++;
    if (this.#machine === undefined) return;
    for (const path of [this.#machine.machineSocket, this.#machine.pingerSocket]) {
      await this.#life.control.addPort({ path, bridge: machinesBridge });
    }
  }

  async #beginLife(): Promise<void> {
    await this.#machine?.settled;
    this.#held = await this.#switch.holdings();
    this.#ownBytesFirst = this.#switch.ownBytes;
  }

  /**
   * Before the switch ends: it holds what it held at the begin, and has complained about nobody.
   */
  async #endLife(): Promise<void> {
    await this.#machine?.settled;
    // What has to be closed is closed soon, but not at once.
    const deadlineMs = performance.now() + limitMs;
    let holdings = await this.#switch.holdings();
    while (!isDeepStrictEqual(holdings, this.#held)) {
      if (performance.now() > deadlineMs) {
        const told = [this.#held, holdings].map((held) => JSON.stringify(held)).join('\n');
        throw new Violation(`the switch holds other things than at its begin:\n${told}`);
      }
      await sleep(10);
      holdings = await this.#switch.holdings();
    }
    const grownMiB = (this.#switch.ownBytes - this.#ownBytesFirst) / 2 ** 20;
    if (grownMiB > this.#ownGrowthMiBMax) {
      throw new Violation(`the switch has grown by ${Math.round(grownMiB)} MiB`);
    }
    const [complaint] = this.#switch.complaints;
    if (complaint !== undefined) throw new Violation(`the switch complains: ${complaint}`);
    if (this.#traffic.violation !== undefined) throw this.#traffic.violation;
  }
}
