/**
 * The recent past of every port of a switch, as far as it explains its present state, gathered from
 * the switch's events.
 *
 * What belongs to a session is forgotten with it, what belongs to a port with the port, and the
 * rest is replaced by what happens next, so nothing grows but the list of lost addresses, which has
 * a bound.
 */

import type { SwitchPort } from '../port/kinds.ts';
import type { PortCounters } from '../port/port.ts';
import type { CloseReason } from '../vhost-user/session.ts';
import type { SwitchEvent } from './events.ts';
import type { Switch } from './switch.ts';

/** What has happened at a port, as far as it explains how it is now. Times are ISO 8601. */
export interface PortHistory {
  /** Absent while nobody is connected. */
  readonly session?: SessionHistory;
  /** How a session ended, until a later one has come as far as starting a ring. */
  readonly lastEnd?: SessionEnd;
  /**
   * Why the socket is of no use now: nobody listens on it, nobody can be accepted or the last was
   * refused.
   */
  readonly waiting?: string;
}

/** Since the frontend that is there connected. */
export interface SessionHistory {
  readonly since: string;
  readonly framesFromGuest: number;
  readonly framesToGuest: number;
  readonly drops: Readonly<Record<string, number>>;
  /** Addresses that were seen here, and then behind another port. */
  readonly macsLost: readonly { readonly mac: string; readonly toPort: string }[];
  /** The last process that wanted in as well. */
  readonly turnedAway?: { readonly at: string; readonly sentence: string };
}

/** How and when the last session of a port ended. */
export interface SessionEnd {
  readonly at: string;
  readonly kind: CloseReason['kind'] | 'memory-lost';
  /** Of vhost-user/refusal.ts, for a frontend's mistake. */
  readonly code?: string;
  readonly sentence?: string;
}

/** A guest that invents addresses can lose any number; a few are enough to see what is going on. */
const macsLostMax = 16;

interface Session {
  readonly since: string;
  /** What the port had counted before. */
  readonly before: PortCounters;
  /** The port each address went to. */
  readonly macsLost: Map<string, string>;
  turnedAway?: { readonly at: string; readonly sentence: string };
}

interface Past {
  session?: Session | undefined;
  lastEnd?: SessionEnd | undefined;
  waiting?: string | undefined;
}

export class History {
  readonly #switch: Switch;
  /** A port that is added under the same name later begins anew. */
  readonly #pasts = new WeakMap<SwitchPort, Past>();
  readonly #listener = (event: SwitchEvent) => this.#note(event);

  constructor(vswitch: Switch) {
    this.#switch = vswitch;
    vswitch.on('event', this.#listener);
  }

  /** `counters` are those of the port now. */
  of(port: SwitchPort, counters: PortCounters): PortHistory {
    const { session, lastEnd, waiting } = this.#past(port);
    return {
      ...(session === undefined ? {} : { session: describe(session, counters) }),
      ...(lastEnd === undefined ? {} : { lastEnd }),
      ...(waiting === undefined ? {} : { waiting }),
    };
  }

  close(): void {
    this.#switch.off('event', this.#listener);
  }

  #note(event: SwitchEvent): void {
    if (event.port === undefined) return;
    const port = this.#switch.port(event.port);
    // The end of a session of a port that was removed.
    if (port === undefined) return;
    const past = this.#past(port);
    const at = new Date().toISOString();
    switch (event.type) {
      case 'frontend-connected':
        past.session = { since: at, before: port.counters, macsLost: new Map() };
        past.waiting = undefined;
        break;
      case 'frontend-left':
        past.session = undefined;
        // Its owner closed it for a reason that was told before: the memory was lost.
        if (event.reason.kind !== 'closed-by-owner') past.lastEnd = { at, ...plain(event.reason) };
        break;
      case 'memory-lost':
        past.lastEnd = { at, kind: event.type, sentence: event.sentence };
        break;
      case 'ring-started':
        past.lastEnd = undefined;
        break;
      case 'frontend-refused':
        if (past.session === undefined) past.waiting = event.sentence;
        else past.session.turnedAway = { at, sentence: event.sentence };
        break;
      case 'waiting':
      case 'accept-failed':
        past.waiting = event.sentence;
        break;
      case 'mac-moved': {
        past.session?.macsLost.delete(event.mac);
        const from = this.#switch.port(event.fromPort);
        const lost = from === undefined ? undefined : this.#past(from).session?.macsLost;
        if (lost !== undefined && lost.size < macsLostMax) lost.set(event.mac, event.port);
        break;
      }
    }
  }

  #past(port: SwitchPort): Past {
    const past = this.#pasts.get(port) ?? {};
    this.#pasts.set(port, past);
    return past;
  }
}

function describe(session: Session, counters: PortCounters): SessionHistory {
  const { since, before, macsLost, turnedAway } = session;
  return {
    since,
    framesFromGuest: counters.fromGuest.frames - before.fromGuest.frames,
    framesToGuest: counters.toGuest.frames - before.toGuest.frames,
    drops: Object.fromEntries(
      Object.entries(counters.drops).map(([why, count]) => [why, count - before.drops[why]!]),
    ),
    macsLost: Array.from(macsLost, ([mac, toPort]) => ({ mac, toPort })),
    ...(turnedAway === undefined ? {} : { turnedAway }),
  };
}

/** Without the error object behind it, which is nobody's business out there. */
function plain(reason: CloseReason): Omit<SessionEnd, 'at'> {
  const { cause: _, ...rest } = { cause: undefined, ...reason };
  return rest;
}
