/**
 * Prints what happens on a switch: one line per event, as text for people or as JSON for programs.
 *
 * Text: `12:00:00.000 info port web1: ...`. JSON: one object per line with `time`, `level`, `event`,
 * `message` and the event's own fields. Levels are chosen here, once, per kind of event.
 *
 * A guest can invent thousands of addresses. So a port has a few lines a while about addresses learned,
 * and as many about addresses moved; the rest of them is one line with their number.
 */

import { toJson } from '../control/json.ts';
import type { CloseReason, SwitchEvent } from '../index.ts';

export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];
export const logFormats = ['text', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

const bytesPerMiB = 1n << 20n;

const addressLinesMax = 16;
const addressWhileMs = 10_000;

type AddressEvent = Extract<SwitchEvent, { type: 'mac-learned' | 'mac-moved' }>;

/** Lines about addresses of one kind at one port. */
interface AddressWhile {
  /** Without a line. */
  untold: number;
  lines: number;
}

export class EventLog {
  readonly #level: number;
  readonly #format: LogFormat;
  readonly #write: (line: string) => void;
  /** By kind and port. */
  readonly #whiles = new Map<string, AddressWhile>();

  constructor(level: LogLevel, format: LogFormat, write: (line: string) => void) {
    this.#level = logLevels.indexOf(level);
    this.#format = format;
    this.#write = write;
  }

  event(event: SwitchEvent): void {
    if ((event.type === 'mac-learned' || event.type === 'mac-moved') && this.#isOneTooMany(event)) {
      return;
    }
    const { level, message } = describe(event);
    const { type, ...fields } = event;
    this.line(level, type, message, fields);
  }

  #isOneTooMany(event: AddressEvent): boolean {
    const key = `${event.type} ${event.port}`;
    let present = this.#whiles.get(key);
    if (present === undefined) {
      present = { untold: 0, lines: 0 };
      this.#whiles.set(key, present);
      setTimeout(() => this.#endWhile(key, event), addressWhileMs).unref();
    }
    if (present.lines < addressLinesMax) {
      present.lines++;
      return false;
    }
    present.untold++;
    return true;
  }

  #endWhile(key: string, { type, port }: AddressEvent): void {
    const { untold } = this.#whiles.get(key)!;
    this.#whiles.delete(key);
    if (untold === 0) return;
    const [level, verb] =
      type === 'mac-learned' ? (['info', 'learned'] as const) : (['warn', 'took over'] as const);
    const message = `port ${port}: ${verb} ${untold} more addresses within ${addressWhileMs / 1000} s`;
    this.line(level, type, message, { port, count: untold });
  }

  /** One line of the switch itself; `fields` show in JSON only. */
  line(level: LogLevel, event: string, message: string, fields: object = {}): void {
    if (logLevels.indexOf(level) > this.#level) return;
    const time = new Date().toISOString();
    this.#write(
      this.#format === 'json'
        ? toJson({ time, level, event, message, ...fields })
        : `${time.slice(11, 23)} ${level} ${message}`,
    );
  }
}

function describe(event: SwitchEvent): { level: LogLevel; message: string } {
  const port = `port ${event.port}:`;
  switch (event.type) {
    case 'listening':
      return { level: 'info', message: `${port} listening on ${event.path}` };
    case 'frontend-connected':
      return { level: 'info', message: `${port} process ${event.pid} connected` };
    case 'features-agreed':
      return { level: 'info', message: `${port} agreed on ${event.names.join(' ')}` };
    case 'mac-learned':
      return { level: 'info', message: `${port} learned ${event.mac}` };
    case 'mac-moved':
      return {
        level: 'warn',
        message: `${port} ${event.mac} moved here from port ${event.fromPort}`,
      };
    case 'frontend-left':
      return describeEnd(port, event.reason);
    case 'memory':
      return {
        level: 'debug',
        message: `${port} maps ${event.bytes / bytesPerMiB} MiB in ${event.regions} regions`,
      };
    case 'ring-started':
      return {
        level: 'debug',
        message: `${port} queue ${event.queue} started, size ${event.size}`,
      };
    case 'ring-stopped':
      return { level: 'debug', message: `${port} queue ${event.queue} stopped at ${event.base}` };
    case 'ring-enabled':
      return { level: 'debug', message: `${port} queue ${event.queue} enabled` };
    case 'ring-disabled':
      return { level: 'debug', message: `${port} queue ${event.queue} disabled` };
    case 'ring-broken':
      return {
        level: 'warn',
        message: `${port} queue ${event.queue} is broken until the guest resets it: ${event.reason}`,
      };
    case 'logging':
      return {
        level: 'info',
        message: `${port} a migration ${event.enabled ? 'begins' : 'ends'}: writes to guest memory are ${event.enabled ? 'logged' : 'no longer logged'}`,
      };
    case 'mtu':
      return { level: 'info', message: `${port} the guest's MTU is ${event.bytes}` };
    case 'waiting':
      return { level: 'info', message: event.sentence };
    case 'frontend-refused':
    case 'request-refused':
    case 'accept-failed':
    case 'memory-lost':
    case 'source-spoofed':
      return { level: 'warn', message: event.sentence };
  }
}

function describeEnd(port: string, reason: CloseReason): { level: LogLevel; message: string } {
  switch (reason.kind) {
    case 'frontend-left':
      return { level: 'info', message: `${port} the frontend left` };
    case 'closed-by-owner':
      return { level: 'info', message: `${port} session closed` };
    case 'protocol-error':
    case 'send-failed':
      return { level: 'warn', message: `${reason.sentence}; session closed` };
    case 'backend-error':
      return { level: 'error', message: `${reason.sentence}; session closed` };
  }
}
