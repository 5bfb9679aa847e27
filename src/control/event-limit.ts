/**
 * A rate limit for events: which are reported one by one, and which are only counted. The log
 * (cli/words/event-log.ts) and the readers of events (event-feed.ts) have one each.
 *
 * What a peer causes (a guest, a frontend, whoever may connect to a socket) it can cause ten
 * thousand times a second. So each kind at each port has a few events reported in a window of time.
 * Of the others the last is reported when the window ends, with their number. How a session ended
 * is a kind of its own, so that many that leave do not hide one that failed. What the operator does
 * is always reported.
 */

import type { SwitchEvent } from '../index.ts';

/** A table and no list, so that an event without its place here does not compile. */
const causes: Readonly<Record<SwitchEvent['type'], 'operator' | 'peer'>> = {
  listening: 'operator',
  'port-removed': 'operator',
  'worker-added': 'operator',
  'settings-applied': 'operator',
  'link-impaired': 'operator',
  'link-mended': 'operator',
  partitioned: 'operator',
  healed: 'operator',
  waiting: 'peer',
  'frontend-connected': 'peer',
  'frontend-refused': 'peer',
  'frontend-left': 'peer',
  'request-refused': 'peer',
  'accept-failed': 'peer',
  'memory-lost': 'peer',
  'source-spoofed': 'peer',
  'features-agreed': 'peer',
  memory: 'peer',
  mtu: 'peer',
  logging: 'peer',
  'ring-started': 'peer',
  'ring-stopped': 'peer',
  'ring-enabled': 'peer',
  'ring-disabled': 'peer',
  'ring-broken': 'peer',
  'mac-learned': 'peer',
  'mac-moved': 'peer',
  'mac-aged': 'peer',
};

/** Events of one kind at one port, since the first of them. */
interface Window {
  reported: number;
  suppressed: number;
  last: SwitchEvent;
  readonly timer: NodeJS.Timeout;
}

export interface EventLimitOptions {
  /** How many of a kind are reported one by one at a port, */
  readonly eachMax: number;
  /** within this time from the first. */
  readonly windowMs: number;
  /** Hears of the others: the last of them, and how many they are. */
  readonly onSuppressed: (last: SwitchEvent, count: number) => void;
}

export class EventLimit {
  readonly #options: EventLimitOptions;
  /** No more than there are ports and kinds: each goes when its window ends. */
  readonly #windows = new Map<string, Window>();

  constructor(options: EventLimitOptions) {
    this.#options = options;
  }

  /** Whether this event is to be reported now. */
  admits(event: SwitchEvent): boolean {
    if (causes[event.type] === 'operator') return true;
    const key = keyOf(event);
    let present = this.#windows.get(key);
    if (present === undefined) {
      const timer = setTimeout(() => this.#end(key), this.#options.windowMs).unref();
      present = { reported: 0, suppressed: 0, last: event, timer };
      this.#windows.set(key, present);
    }
    if (present.reported < this.#options.eachMax) {
      present.reported++;
      return true;
    }
    present.suppressed++;
    present.last = event;
    return false;
  }

  /** Ends every window now: nothing stays uncounted. */
  close(): void {
    for (const key of [...this.#windows.keys()]) this.#end(key);
  }

  #end(key: string): void {
    const { timer, suppressed, last } = this.#windows.get(key)!;
    clearTimeout(timer);
    this.#windows.delete(key);
    if (suppressed > 0) this.#options.onSuppressed(last, suppressed);
  }
}

function keyOf(event: SwitchEvent): string {
  const kind = event.type === 'frontend-left' ? event.reason.kind : '';
  return `${event.type} ${kind} ${event.port ?? ''}`;
}
