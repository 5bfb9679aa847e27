/**
 * What bridges have learned, kept for the next process: so that a switch which was restarted does
 * not flood what it knew the place of.
 *
 * Written half a minute after the last time if it is something else, and at the end. What was
 * written longer ago than addresses are kept counts no more. What was behind a port is learned
 * again when its machine is back, at once or within ten seconds.
 *
 * Nothing depends on it: who cannot read or write it says so once and goes on.
 */

import { failure, TsvswitchError } from '../../model/errors.ts';
import { type StateDocument, StateFolder } from './state-folder.ts';

/** MAC as a number, VLAN, name of the port. */
export type LearnedPlace = readonly [mac: number, vlan: number, port: string];

export interface LearnedOn {
  readonly bridge: string;
  readonly learned: readonly LearnedPlace[];
}

interface Kept {
  /** Seconds since 1970. */
  readonly at: number;
  readonly bridges: readonly LearnedOn[];
}

/** The switch, as far as this is about it. */
export interface Learning {
  readonly learned: () => readonly LearnedOn[];
  /** Those of ports whose machine is there. */
  readonly learnAgain: (all: readonly LearnedOn[]) => void;
  /** Of a bridge; 0: never. */
  readonly ageingSeconds: (bridge: string) => number;
}

/** A table that has more grows by being flooded to; so many are a file of some megabytes. */
const addressesMax = 65_536;
const writeMs = 30_000;
const backMs = 10_000;
const millisecond = 1000;
const macMax = 2 ** 48 - 1;
const groupBit = 2 ** 40;
const vlanMax = 4095;

const document: StateDocument<Kept> = { name: 'addresses', version: 1, read: readKept };

export class KeptAddresses {
  readonly #folder: string;
  readonly #switch: Learning;
  readonly #onTrouble: (sentence: string) => void;
  readonly #timer: NodeJS.Timeout;
  #written = '';
  #trouble = '';
  #waiting: readonly LearnedOn[] = [];

  constructor(folder: string, learning: Learning, onTrouble: (sentence: string) => void) {
    this.#folder = folder;
    this.#switch = learning;
    this.#onTrouble = onTrouble;
    this.#timer = setInterval(() => this.write(), writeMs).unref();
  }

  /** Before frames move. */
  recall(): void {
    this.#attempt(() => {
      const { at, bridges } = StateFolder.open(this.#folder).read(document) ?? nothing;
      const ageS = Math.max(0, nowS() - at);
      const young = ({ bridge }: LearnedOn) => {
        const limitS = this.#switch.ageingSeconds(bridge);
        return limitS === 0 || ageS < limitS;
      };
      this.#waiting = bridges.filter(young);
      this.#switch.learnAgain(this.#waiting);
      setTimeout(() => {
        this.#waiting = [];
      }, backMs).unref();
    });
  }

  /** A machine is there. */
  connected(port: string): void {
    if (this.#waiting.length === 0) return;
    const ofPort = this.#waiting.map(({ bridge, learned }) => ({
      bridge,
      learned: learned.filter(([, , name]) => name === port),
    }));
    this.#switch.learnAgain(ofPort);
  }

  /** Before the switch is closed, or is another process's. */
  close(): void {
    clearInterval(this.#timer);
    this.write();
  }

  /** If it is something else than was written. */
  write(): void {
    const bridges = bounded(this.#switch.learned());
    const text = JSON.stringify(bridges);
    if (text === this.#written) return;
    this.#attempt(() => {
      StateFolder.open(this.#folder).write(document, { at: nowS(), bridges });
      this.#written = text;
      this.#trouble = '';
    });
  }

  #attempt(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof TsvswitchError)) throw error;
      const { message } = failure('addresses-not-kept', { why: error.message });
      if (message !== this.#trouble) this.#onTrouble(message);
      this.#trouble = message;
    }
  }
}

const nothing: Kept = { at: 0, bridges: [] };

function nowS(): number {
  return Math.floor(Date.now() / millisecond);
}

function bounded(all: readonly LearnedOn[]): LearnedOn[] {
  let left = addressesMax;
  return all.map(({ bridge, learned }) => {
    const some = learned.slice(0, left);
    left -= some.length;
    return { bridge, learned: some };
  });
}

function readKept(value: unknown): Kept {
  const { at, bridges } = (value ?? {}) as Partial<Kept>;
  if (!Number.isSafeInteger(at) || !Array.isArray(bridges)) throw new Error('it has no bridges');
  let count = 0;
  for (const { bridge, learned } of bridges as readonly Partial<LearnedOn>[]) {
    if (typeof bridge !== 'string' || !Array.isArray(learned)) throw new Error('a bridge is none');
    count += learned.length;
    if (!learned.every(isPlace)) throw new Error(`an address of bridge ${bridge} is none`);
  }
  if (count > addressesMax) throw new Error(`it has more than ${addressesMax} addresses`);
  return value as Kept;
}

function isPlace(place: unknown): place is LearnedPlace {
  if (!Array.isArray(place)) return false;
  const [mac, vlan, port] = place as unknown[];
  return (
    isWhole(mac, 1, macMax) &&
    Math.floor((mac as number) / groupBit) % 2 === 0 &&
    isWhole(vlan, 0, vlanMax) &&
    typeof port === 'string'
  );
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}
