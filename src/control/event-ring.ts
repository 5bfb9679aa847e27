/**
 * Events with numbers, and the latest of them: what a reader of server-sent events has missed while
 * it was not connected.
 *
 * A number is that of this switch's process alone: of another one nobody knows what was missed.
 *
 * Source: HTML Living Standard, "Server-sent events".
 */

import { randomBytes } from 'node:crypto';
import type { EventsLost, SwitchEvent } from '../index.ts';
import { toJson } from './json.ts';

type Told = SwitchEvent | EventsLost;

/** An event, and how it is written. */
export interface Entry {
  readonly id: string;
  readonly type: Told['type'];
  readonly json: string;
}

/** As long as it takes a page to connect anew, at the rate at which events are told. */
const keptMax = 1024;
const epochBytes = 6;
const idPattern = /^([0-9a-f]+)-(\d{1,15})$/;

export class EventRing {
  readonly #epoch = randomBytes(epochBytes).toString('hex');
  /** The last one has number #count - 1. */
  readonly #kept: Entry[] = [];
  #count = 0;

  /** Numbers the event and keeps it. */
  add(event: Told): Entry {
    const entry = { id: `${this.#epoch}-${this.#count++}`, type: event.type, json: toJson(event) };
    this.#kept.push(entry);
    if (this.#kept.length > keptMax) this.#kept.shift();
    return entry;
  }

  /**
   * All behind the one with this number, and in front of them how many are not known any more. Of
   * another process's number all that are known.
   */
  since(id: string): { readonly lost: number; readonly entries: readonly Entry[] } {
    const [, epoch, digits] = idPattern.exec(id) ?? [];
    const next = epoch === this.#epoch ? Number(digits) + 1 : 0;
    const first = this.#count - this.#kept.length;
    return {
      lost: Math.max(0, first - next),
      entries: this.#kept.slice(Math.max(0, next - first)),
    };
  }
}

/** One line of JSON. */
export function asLine({ json }: Pick<Entry, 'json'>): string {
  return `${json}\n`;
}

/** One that stands for others has no number: whoever comes back asks for those behind the last. */
export function asServerSent({ id, type, json }: Omit<Entry, 'id'> & { id?: string }): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${json}\n\n`;
}
