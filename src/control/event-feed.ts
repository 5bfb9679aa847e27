/**
 * Hands the events of a switch to everybody who reads GET /v1/events: one listener and one encoding
 * for all of them, written some fifty times a second at most.
 *
 *     Switch ──event──► EventLimit ──► EventRing ──every 20 ms──► each reader
 *
 * They are lines of JSON, or for who accepts `text/event-stream` server-sent events. Those have
 * numbers: who comes back with the last one it has seen is given those behind it first.
 *
 * A reader that does not read loses events, and not the memory of the switch: once it has left 256
 * KiB unread it is given no more until it has read them, and then their number (`events-lost`). Of
 * one kind at one port 256 a second are reported, so that a peer that makes a flood pushes out
 * nobody else's.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EventsLost, Switch, SwitchEvent } from '../index.ts';
import { failure } from '../model/errors.ts';
import { EventLimit } from './event-limit.ts';
import { asLine, asServerSent, type Entry, EventRing } from './event-ring.ts';
import { toJson } from './json.ts';

/** More than people and programs that watch one switch. */
export const eventReadersMax = 64;
const unreadBytesMax = 1 << 18;
const flushIntervalMs = 20;
const eachMax = 256;
const windowMs = 1000;
const serverSent = 'text/event-stream';
/** Proxies and browsers give up a connection on which nothing comes. */
const signOfLifeMs = 15_000;
const signOfLife = ': nothing has happened\n\n';
/** How soon a browser comes back. */
const beginning = 'retry: 1000\n\n';

interface Reader {
  readonly response: ServerResponse;
  readonly format: (entry: Pick<Entry, 'json' | 'type'>) => string;
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
  readonly #ring = new EventRing();
  /** Somebody may come back for what it has missed. */
  #keeps = false;
  #entries: Entry[] = [];
  #signs: NodeJS.Timeout | undefined;
  #flushedAtMs = Number.NEGATIVE_INFINITY;
  #next: NodeJS.Timeout | undefined;

  constructor(vswitch: Switch) {
    this.#switch = vswitch;
  }

  /** Begins to answer with events, until the client leaves. Throws CONTROL_BUSY. */
  add({ headers }: IncomingMessage, response: ServerResponse): void {
    if (this.#readers.size >= eventReadersMax) {
      throw failure('event-readers-too-many', { max: eventReadersMax });
    }
    // What happened before belongs to the others.
    this.#flush();
    if (!this.#listens) this.#switch.on('event', this.#listener);
    const isServerSent = headers.accept?.includes(serverSent) === true;
    const reader: Reader = { response, lost: 0, format: isServerSent ? asServerSent : asLine };
    this.#readers.add(reader);
    response.on('drain', () => this.#write(reader, []));
    response.once('close', () => this.#remove(reader));
    if (isServerSent) this.#begin(reader, headers['last-event-id']);
    else {
      response.writeHead(200, { 'content-type': 'application/jsonl' });
      response.flushHeaders();
    }
  }

  get #listens(): boolean {
    return this.#keeps || this.#readers.size > 0;
  }

  /** Of server-sent events, with what was missed since that number. */
  #begin(reader: Reader, last: string | string[] | undefined): void {
    const { response } = reader;
    this.#keeps = true;
    this.#signs ??= setInterval(() => this.#giveSigns(), signOfLifeMs).unref();
    response.writeHead(200, { 'content-type': serverSent, 'cache-control': 'no-cache' });
    response.write(beginning);
    if (typeof last !== 'string') return;
    const { lost, entries } = this.#ring.since(last);
    reader.lost = lost;
    this.#write(reader, entries);
  }

  #giveSigns(): void {
    for (const { response, format } of this.#readers) {
      const isIdle = response.writableLength === 0 && !response.destroyed;
      if (format === asServerSent && isIdle) response.write(signOfLife);
    }
  }

  close(): void {
    this.#keeps = false;
    for (const reader of [...this.#readers]) this.#remove(reader);
    this.#stopListening();
    clearInterval(this.#signs);
    clearTimeout(this.#next);
  }

  #remove(reader: Reader): void {
    if (this.#readers.delete(reader) && !this.#listens) this.#stopListening();
  }

  #stopListening(): void {
    this.#switch.off('event', this.#listener);
    this.#limit.close();
    this.#entries = [];
  }

  #tell(event: SwitchEvent | EventsLost): void {
    if (!this.#listens) return;
    const entry = this.#ring.add(event);
    if (this.#readers.size === 0) return;
    this.#entries.push(entry);
    if (this.#next !== undefined) return;
    const waitMs = Math.max(0, this.#flushedAtMs + flushIntervalMs - performance.now());
    this.#next = setTimeout(() => this.#flush(), waitMs);
  }

  #flush(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
    this.#flushedAtMs = performance.now();
    const entries = this.#entries;
    this.#entries = [];
    for (const reader of this.#readers) this.#write(reader, entries);
  }

  #write(reader: Reader, entries: readonly Entry[]): void {
    const { response, lost, format } = reader;
    if (response.destroyed) return;
    if (response.writableLength > unreadBytesMax) {
      reader.lost += entries.length;
      return;
    }
    reader.lost = 0;
    const text = [...(lost === 0 ? [] : [gapOf(lost)]), ...entries].map(format).join('');
    if (text !== '') response.write(text);
  }
}

function gapOf(count: number): Pick<Entry, 'json' | 'type'> {
  const gap: EventsLost = { type: 'events-lost', count };
  return { type: gap.type, json: toJson(gap) };
}

function lostOf(last: SwitchEvent, count: number): EventsLost {
  return {
    type: 'events-lost',
    count,
    of: last.type,
    ...(last.port === undefined ? {} : { port: last.port }),
  };
}
