/**
 * The events of a switch, and the same as a stream for `for await`.
 *
 * A stream begins when it is asked for, not when it is first read, and keeps what has not been
 * read: up to 16384 events, and then how many more there were. It ends with the switch, or with the
 * loop that reads it.
 */

import type { EventEmitter } from 'node:events';
import type { Change } from '../model/difference.ts';
import type { NetworkEvent } from '../policy/impairment/links.ts';
import type { PortEvent } from '../port/port.ts';
import type { WorkerStatus } from './workers.ts';

/** An event of a switch: of one of its ports, or of its operator. */
export type SwitchEvent = PortEvent | OperatorEvent;

/** What whoever runs the switch has done, once it has taken effect; mostly not to one port. */
export type OperatorEvent =
  | { readonly type: 'port-removed'; readonly port: string }
  | ((
      | NetworkEvent
      | { readonly type: 'worker-added'; readonly worker: WorkerStatus }
      | { readonly type: 'settings-applied'; readonly changes: readonly Change[] }
    ) & { readonly port?: undefined });

/**
 * Every event under its own type, all of them under `event`, and `closed` when there are no more.
 */
export type SwitchEventMap = {
  [Type in SwitchEvent['type']]: [Extract<SwitchEvent, { type: Type }>];
} & {
  event: [SwitchEvent];
  closed: [];
};

/**
 * In a stream, in place of as many events as nobody read in time, or, if it names a port, of those
 * of type `of` that came faster than they are told.
 */
export interface EventsLost {
  readonly type: 'events-lost';
  readonly count: number;
  readonly port?: string;
  readonly of?: SwitchEvent['type'];
}

/** How a stream of events ends. */
export interface EventStreamOptions {
  /** Ends the stream with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** More than any test lets pile up; a guest that invents addresses makes that many in a second. */
const waitingMax = 16_384;

export function streamEvents(
  emitter: EventEmitter<SwitchEventMap>,
  { signal }: EventStreamOptions,
): AsyncIterableIterator<SwitchEvent | EventsLost> {
  const waiting: SwitchEvent[] = [];
  let lost = 0;
  let end: { readonly reason?: unknown } | undefined;
  let wake = () => {};
  const keep = (event: SwitchEvent) => {
    // Once some are lost all are, until the reader comes to the gap.
    if (lost === 0 && waiting.length < waitingMax) waiting.push(event);
    else lost++;
    wake();
  };
  const finish = (why: { readonly reason?: unknown }) => {
    end ??= why;
    emitter.off('event', keep);
    emitter.off('closed', onClosed);
    signal?.removeEventListener('abort', onAbort);
    wake();
  };
  const onClosed = () => finish({});
  const onAbort = () => finish({ reason: signal?.reason });
  emitter.on('event', keep);
  emitter.on('closed', onClosed);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();

  async function* read(): AsyncGenerator<SwitchEvent | EventsLost, undefined> {
    for (;;) {
      const event = waiting.shift();
      if (event !== undefined) {
        yield event;
      } else if (lost > 0) {
        const count = lost;
        lost = 0;
        yield { type: 'events-lost', count };
      } else if (end !== undefined) {
        if ('reason' in end) throw end.reason;
        return undefined;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  const reader = read();
  return {
    next: () => reader.next(),
    return: () => {
      waiting.length = lost = 0;
      finish({});
      return reader.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
