/**
 * Hands the events of a switch to everybody who reads GET /v1/events: one listener and one encoding
 * for all of them, written some fifty times a second at most.
 *
 *     Switch ──event──► EventLimit ──► lines ──every 20 ms──► each reader
 *
 * A reader that does not read loses events, and not the memory of the switch: once it has left 256
 * KiB unread it is given no more until it has read them, and then their number (`events-lost`). Of
 * one kind at one port 256 a second are reported, so that a peer that makes a flood pushes out
 * nobody else's.
 */

import type { ServerResponse } from 'node:http';
import { type EventsLost, type Switch, type SwitchEvent, TsvswitchError } from '../index.ts';
import { EventLimit } from './event-limit.ts';
import { toJson } from './json.ts';

/** More than people and programs that watch one switch. */
export const eventReadersMax = 64;
const unreadBytesMax = 1 << 18;
const flushIntervalMs = 20;
const eachMax = 256;
const windowMs = 1000;

interface Reader {
  readonly response: ServerResponse;
  /** Events it was not given since it fell behind. */
  lost: number;
}

export class EventFeed {
  readonly #switch: Switch;
  readonly #readers = new Set<Reader>();
  readonly #limit = new EventLimit({
    eachMax,
    windowMs,
    onSuppressed: (last, count) => this.#tell(lostOf(last, count)),
  });
  readonly #listener = (event: SwitchEvent) => {
    if (this.#limit.admits(event)) this.#tell(event);
  };
  #lines: string[] = [];
  #flushedAtMs = Number.NEGATIVE_INFINITY;
  #next: NodeJS.Timeout | undefined;

  constructor(vswitch: Switch) {
    this.#switch = vswitch;
  }

  /** Begins to answer with events, until the client leaves. Throws CONTROL_BUSY. */
  add(response: ServerResponse): void {
    if (this.#readers.size >= eventReadersMax) {
      throw new TsvswitchError(
        'CONTROL_BUSY',
        `${eventReadersMax} clients read events already, and there can be no more; end one of ` +
          'them first',
      );
    }
    // What happened before belongs to the others.
    this.#flush();
    if (this.#readers.size === 0) this.#switch.on('event', this.#listener);
    const reader: Reader = { response, lost: 0 };
    this.#readers.add(reader);
    response.on('drain', () => this.#write(reader, []));
    response.once('close', () => this.#remove(reader));
    response.writeHead(200, { 'content-type': 'application/jsonl' });
    response.flushHeaders();
  }

  close(): void {
    for (const reader of [...this.#readers]) this.#remove(reader);
    clearTimeout(this.#next);
  }

  #remove(reader: Reader): void {
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return;
    this.#switch.off('event', this.#listener);
    this.#limit.close();
    this.#lines = [];
  }

  #tell(event: SwitchEvent | EventsLost): void {
    if (this.#readers.size === 0) return;
    this.#lines.push(`${toJson(event)}\n`);
    if (this.#next !== undefined) return;
    const waitMs = Math.max(0, this.#flushedAtMs + flushIntervalMs - performance.now());
    this.#next = setTimeout(() => this.#flush(), waitMs);
  }

  #flush(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
    this.#flushedAtMs = performance.now();
    const lines = this.#lines;
    this.#lines = [];
    for (const reader of this.#readers) this.#write(reader, lines);
  }

  #write(reader: Reader, lines: readonly string[]): void {
    const { response, lost } = reader;
    if (response.destroyed) return;
    if (response.writableLength > unreadBytesMax) {
      reader.lost += lines.length;
      return;
    }
    reader.lost = 0;
    const gap: EventsLost[] = lost === 0 ? [] : [{ type: 'events-lost', count: lost }];
    const text = [...gap.map((event) => `${toJson(event)}\n`), ...lines].join('');
    if (text !== '') response.write(text);
  }
}

function lostOf(last: SwitchEvent, count: number): EventsLost {
  return {
    type: 'events-lost',
    count,
    of: last.type,
    ...(last.port === undefined ? {} : { port: last.port }),
  };
}
