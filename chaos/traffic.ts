/**
 * Simulated guests that flood each other with numbered frames, each of them all the others at once,
 * and what has become of every frame.
 *
 * What is done to some of them disturbs their flows; settle() ends that. Everybody broadcasts an
 * announcement, and once everybody has heard everybody, what was sent before is through, since it
 * lay before it in the same ring, and the switch knows where everybody is. From there on no frame
 * may be missing or flooded, and every flow has to go on.
 *
 * Besides them there is a visitor, who comes and goes and talks to one guest while he is there.
 *
 * The first violation ends every wait.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guests } from './event.ts';
import { Flow, Violation } from './flow.ts';
import { everybody, numberedFrame, readNumbered } from './numbered-frame.ts';
import { Station } from './station.ts';

/** Numbers of the guests that stay. */
export const numbers = Array.from({ length: guests }, (_, number) => number);
/** Follows those of the guests that stay. */
export const visitorNumber = guests;
/** More than a busy machine takes for anything that is no machine's boot. */
export const limitMs = 60_000;
/** Frames of a flow under way: its share of the smallest ring's room, twice, if all are flooded. */
const windowFrames = 64;
/** Frames that a guest sends before others get their turn. */
const burstFrames = 96;

export class Traffic {
  /** By number. */
  readonly stations: readonly Station[];
  readonly #visitor: Station;
  readonly #folder: string;
  /** From and to guests by number; the last row is the visitor's, who is not sent to. */
  readonly #flows: readonly (readonly Flow[])[];
  /** The last announcement of each guest, and the last that each other one heard of it. */
  readonly #announced: number[] = numbers.map(() => 0);
  readonly #heard: number[][] = [...numbers, visitorNumber].map(() => numbers.map(() => 0));
  #visited: number | undefined;
  #arrived = 0;
  #violation: Violation | undefined;

  /** Nobody is there yet; their sockets are in `folder`. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#flows = [...numbers, visitorNumber].map((from) =>
      numbers.map((to) => new Flow(`from ${nameOf(from)} to ${nameOf(to)}`, windowFrames)),
    );
    this.stations = numbers.map((number) =>
      this.#newStation(number, () =>
        numbers.filter((to) => to !== number).flatMap((to) => this.#framesOf(number, to)),
      ),
    );
    this.#visitor = this.#newStation(visitorNumber, () =>
      this.#visited === undefined ? [] : this.#framesOf(visitorNumber, this.#visited),
    );
  }

  /** Frames that have arrived where they were to. */
  get arrived(): number {
    return this.#arrived;
  }

  get violation(): Violation | undefined {
    return this.#violation;
  }

  /** Between guests that stay. */
  get flows(): readonly Flow[] {
    return numbers.flatMap((from) => this.flowsFrom(from));
  }

  /** The visitor's too. */
  get allFlows(): readonly Flow[] {
    return this.#flows.flat();
  }

  flow(from: number, to: number): Flow {
    return this.#flows[from]![to]!;
  }

  flowsFrom(guest: number): readonly Flow[] {
    return numbers.filter((to) => to !== guest).map((to) => this.flow(guest, to));
  }

  flowsTo(guest: number): readonly Flow[] {
    return numbers.filter((from) => from !== guest).map((from) => this.flow(from, guest));
  }

  socketOf(number: number): string {
    return join(this.#folder, `${nameOf(number)}.sock`);
  }

  /** There may be something to send for everybody. */
  wake(): void {
    for (const station of this.stations) station.wake();
  }

  /** Ends what was done to these flows. */
  async settle(disturbed: readonly Flow[]): Promise<void> {
    for (const [number, station] of this.stations.entries()) {
      const announcement = ++this.#announced[number]!;
      await station.send(numberedFrame({ from: number, to: everybody, number: announcement }));
    }
    await this.until('everybody to hear everybody', () =>
      numbers.every((from) =>
        numbers.every((at) => at === from || this.#heard[at]![from] === this.#announced[from]),
      ),
    );
    for (const flow of disturbed) flow.settle();
    this.wake();
    await this.allGoOn();
  }

  async allGoOn(): Promise<void> {
    await Promise.all(this.flows.map((flow) => this.goOn(flow)));
  }

  /** Returns when frames that are sent from now on have arrived. */
  async goOn(flow: Flow): Promise<void> {
    const goal = flow.next + windowFrames;
    await this.until(`frames ${flow.name} to arrive`, () => flow.expected > goal);
  }

  /** The same with one of those that this guest sends to; others may be away. */
  async someGoOn(guest: number): Promise<void> {
    const goals = this.flowsFrom(guest).map((flow) => ({ flow, goal: flow.next + windowFrames }));
    await this.until(`frames from ${nameOf(guest)} to arrive`, () =>
      goals.some(({ flow, goal }) => flow.expected > goal),
    );
  }

  /** Pauses a flow and returns when nothing of it is under way. */
  async drain(flow: Flow): Promise<void> {
    flow.pause();
    await this.until(`the last frames ${flow.name} to arrive`, () => flow.isDrained);
  }

  /** While a guest is away: once more as much to it as was under way when it went. */
  async floodInto(guest: number, awayMs: number): Promise<void> {
    for (const flow of this.flowsTo(guest)) flow.reopen();
    this.wake();
    await sleep(awayMs);
  }

  /** The visitor comes, talks to a guest for a while and goes. */
  async visit(guest: number, packed: boolean): Promise<void> {
    const flow = this.flow(visitorNumber, guest);
    flow.settle();
    this.#visited = guest;
    await this.#visitor.come(packed);
    await this.goOn(flow);
    await this.drain(flow);
    this.#visited = undefined;
    flow.resume();
    await this.#visitor.leave();
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + limitMs;
    for (;;) {
      if (this.#violation !== undefined) throw this.#violation;
      if (isSo()) return;
      if (performance.now() > deadlineMs) {
        this.fail(new Violation(`waited ${limitMs / 1000} s in vain for ${what}`));
      }
      await sleep(1);
    }
  }

  /** The first one counts. */
  fail(violation: Violation): void {
    this.#violation ??= violation;
  }

  /** Everybody is gone. */
  end(): void {
    for (const station of [...this.stations, this.#visitor]) station.end();
  }

  #newStation(number: number, nextFrames: () => readonly Uint8Array[]): Station {
    return new Station({
      name: nameOf(number),
      path: this.socketOf(number),
      nextFrames,
      onFrame: (frame) => this.#take(number, frame),
      onFailure: (violation) => this.fail(violation),
    });
  }

  #framesOf(from: number, to: number): Uint8Array[] {
    const flow = this.flow(from, to);
    const length = Math.max(0, Math.min(flow.room, burstFrames / (guests - 1)));
    return Array.from({ length }, () => numberedFrame({ from, to, number: flow.take() }));
  }

  /** Everything that arrives anywhere comes by here. */
  #take(at: number, bytes: Uint8Array): void {
    const frame = readNumbered(bytes);
    if (frame === undefined) throw new Violation(`${nameOf(at)}: a damaged frame arrived`);
    const { from, to, number } = frame;
    if (to === everybody) {
      this.#hear(at, from, number);
      return;
    }
    const flow = this.flow(from, to);
    if (to === at) {
      flow.arrived(number);
      this.#arrived++;
      (from === visitorNumber ? this.#visitor : this.stations[from]!).wake();
    } else if (at === from || !flow.mayMiss(number)) {
      throw new Violation(`frame ${number} ${flow.name} arrived at ${nameOf(at)}`);
    }
  }

  #hear(at: number, from: number, number: number): void {
    const last = this.#heard[at]![from]!;
    if (number <= last) {
      throw new Violation(
        `${nameOf(at)}: announcement ${number} of ${nameOf(from)} arrived after ${last}`,
      );
    }
    this.#heard[at]![from] = number;
  }
}

/** The name of a guest and of its port. */
export function nameOf(number: number): string {
  return number === visitorNumber ? 'visitor' : `guest${number}`;
}
