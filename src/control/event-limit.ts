/**
 * Which events are told one by one, and which are only counted, for whoever tells them on: the log
 * (cli/words/event-log.ts) and readers of events (event-feed.ts).
 *
 * What a peer causes (a guest, a frontend, whoever may knock at a socket) it can cause ten thousand times a
 * second. So of each kind at each port a few are told a while; of the others the last is told when the while
 * ends, with their number. How a session ended is a kind of its own, so that many that leave do not hide one
 * that failed. What the operator does is told always.
 */

import type { SwitchEvent } from '../index.ts';

/** A table and no list, so that an event without its place here does not compile. */
const causes: Readonly<Record<SwitchEvent['type'], 'operator' | 'peer'>> = {
  listening: 'operator',
  'port-removed': 'operator',
  'worker-added': 'operator',
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
};

/** Events of one kind at one port, since the first of them. */
interface While {
  told: number;
  untold: number;
  last: SwitchEvent;
  readonly timer: NodeJS.Timeout;
}

export interface EventLimitOptions {
  /** How many of a kind a port has told one by one, */
  readonly eachMax: number;
  /** within this time from the first. */
  readonly whileMs: number;
  /** Is told of the others: the last of them, and how many they are. */
  readonly onUntold: (last: SwitchEvent, count: number) => void;
}

export class EventLimit {
  readonly #options: EventLimitOptions;
  /** No more than there are ports and kinds: each goes when its while ends. */
  readonly #whiles = new Map<string, While>();

  constructor(options: EventLimitOptions) {
    this.#options = options;
  }

  /** Whether this event is to be told now. */
  admits(event: SwitchEvent): boolean {
    if (causes[event.type] === 'operator') return true;
    const key = keyOf(event);
    let present = this.#whiles.get(key);
    if (present === undefined) {
      const timer = setTimeout(() => this.#end(key), this.#options.whileMs).unref();
      present = { told: 0, untold: 0, last: event, timer };
      this.#whiles.set(key, present);
    }
    if (present.told < this.#options.eachMax) {
      present.told++;
      return true;
    }
    present.untold++;
    present.last = event;
    return false;
  }

  /** Ends every while now: nothing stays uncounted. */
  close(): void {
    for (const key of [...this.#whiles.keys()]) this.#end(key);
  }

  #end(key: string): void {
    const { timer, untold, last } = this.#whiles.get(key)!;
    clearTimeout(timer);
    this.#whiles.delete(key);
    if (untold > 0) this.#options.onUntold(last, untold);
  }
}

function keyOf(event: SwitchEvent): string {
  const kind = event.type === 'frontend-left' ? event.reason.kind : '';
  return `${event.type} ${kind} ${event.port ?? ''}`;
}
