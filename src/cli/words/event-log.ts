/**
 * Prints what happens on a switch: one line per event, as text for people or as JSON for programs.
 *
 * Text: `12:00:00.000 info port web1: ...`. JSON: one object per line with `time`, `level`,
 * `event`, `message` and the event's own fields. Levels are chosen here, once, per kind of event.
 * In the journal, which notes the time and the priority of each line itself, the text is the
 * sentence alone, behind a prefix that becomes the priority (journal-line.ts).
 *
 * What a peer causes has ten lines in ten seconds for each kind and port, and then one with the
 * number of the others (control/event-limit.ts). A line is one line, whatever somebody has put into
 * a name or a path.
 */

import { EventLimit } from '../../control/event-limit.ts';
import { toJson } from '../../control/json.ts';
import type { CloseReason, NamedLink, SwitchEvent } from '../../index.ts';
import { changeText } from '../../model/change-text.ts';
import { type LogLevel, logLevels } from '../../model/log-levels.ts';
import { printable } from '../../model/wording.ts';
import type { logFormats } from '../../operate/settings.ts';
import { withPriority } from './journal-line.ts';

export type LogFormat = (typeof logFormats)[number];

const bytesPerMiB = 1n << 20n;

const linesMax = 10;
const windowMs = 10_000;

export class EventLog {
  /** What is less important is left out; may be another one at any time. */
  level: LogLevel;
  readonly #format: LogFormat;
  readonly #isJournal: boolean;
  readonly #write: (line: string) => void;
  readonly #limit = new EventLimit({
    eachMax: linesMax,
    windowMs,
    onSuppressed: (last, count) => this.#tell(last, count),
  });

  constructor(
    level: LogLevel,
    format: LogFormat,
    write: (line: string) => void,
    { isJournal = false }: { readonly isJournal?: boolean } = {},
  ) {
    this.level = level;
    this.#format = format;
    this.#isJournal = isJournal;
    this.#write = write;
  }

  event(event: SwitchEvent): void {
    if (this.#limit.admits(event)) this.#tell(event, 1);
  }

  /** Tells of all that was only counted until now. */
  close(): void {
    this.#limit.close();
  }

  /** `count` events, of which `event` was the last. */
  #tell(event: SwitchEvent, count: number): void {
    const { level, message } = describe(event);
    const { type, ...fields } = event;
    if (count === 1) this.line(level, type, message, fields);
    else {
      const more = `; and ${count - 1} more like it within ${windowMs / 1000} s`;
      this.line(level, type, message + more, { ...fields, count });
    }
  }

  /** One line of the switch itself; `fields` show in JSON only. */
  line(level: LogLevel, event: string, message: string, fields: object = {}): void {
    if (logLevels.indexOf(level) > logLevels.indexOf(this.level)) return;
    const time = new Date().toISOString();
    const text = printable(message);
    if (this.#format === 'json')
      this.#say(level, toJson({ time, level, event, message: text, ...fields }));
    else this.#say(level, this.#isJournal ? text : `${time.slice(11, 23)} ${level} ${text}`);
  }

  #say(level: LogLevel, line: string): void {
    this.#write(this.#isJournal ? withPriority(level, line) : line);
  }
}

/** The line of an event, without its time. */
export function describe(event: SwitchEvent): { level: LogLevel; message: string } {
  switch (event.type) {
    case 'worker-added': {
      const { number, cpu } = event.worker;
      const where = cpu === undefined ? '' : ` on CPU ${cpu}`;
      return { level: 'info', message: `worker ${number} was added${where}` };
    }
    case 'settings-applied':
      return {
        level: 'info',
        message: `settings were applied: ${event.changes.map(changeText).join(', ')}`,
      };
    case 'link-impaired':
      return {
        level: 'info',
        message: `link ${wordsOf(event.link)} is impaired: ${JSON.stringify(event.impairment)}`,
      };
    case 'link-mended':
      return { level: 'info', message: `link ${wordsOf(event.link)} is whole` };
    case 'partitioned':
      return {
        level: 'info',
        message: `the network is parted: ${event.sides.map((side) => side.join(', ')).join(' | ')}`,
      };
    case 'healed':
      return { level: 'info', message: 'the network is whole: its partition has ended' };
    default:
      return describeOfPort(event);
  }
}

function wordsOf(link: NamedLink): string {
  if ('port' in link) {
    const { port, direction } = link;
    if (direction === undefined) return `of port ${port}`;
    return direction === 'fromGuest'
      ? `from the guest of port ${port}`
      : `to the guest of port ${port}`;
  }
  if ('from' in link) return `from port ${link.from} to port ${link.to}`;
  return `between port ${link.between[0]} and port ${link.between[1]}`;
}

function describeOfPort(event: Extract<SwitchEvent, { port: string }>): {
  level: LogLevel;
  message: string;
} {
  const port = `port ${event.port}:`;
  switch (event.type) {
    case 'port-removed':
      return { level: 'info', message: `${port} was removed` };
    case 'listening':
      return { level: 'info', message: `${port} listening on ${event.path}` };
    case 'frontend-connected':
      return { level: 'info', message: `${port} process ${event.pid} connected` };
    case 'features-agreed':
      return { level: 'info', message: `${port} agreed on ${event.names.join(' ')}` };
    case 'mac-learned':
      return { level: 'info', message: `${port} learned ${event.mac}` };
    case 'mac-aged':
      return { level: 'info', message: `${port} forgot ${event.mac}, which it saw no more` };
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
        message:
          `${port} queue ${event.queue} is broken until the guest resets it: ` + `${event.reason}`,
      };
    case 'logging':
      return {
        level: 'info',
        message:
          `${port} a migration ${event.enabled ? 'begins' : 'ends'}: writes to guest memory are ` +
          `${event.enabled ? 'logged' : 'no longer logged'}`,
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
