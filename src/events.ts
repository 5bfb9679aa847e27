/**
 * What a switch has to tell, and the same as a stream for `for await`.
 *
 * A stream begins when it is asked for, not when it is first read, and keeps what has not been read. It
 * ends with the switch, or with the loop that reads it.
 */

import { type EventEmitter, on } from 'node:events';
import type { PortEvent } from './port/port.ts';

/** What a switch has to tell: about its ports, and about addresses that were learned. */
export type SwitchEvent =
  | PortEvent
  | { readonly type: 'mac-learned'; readonly port: string; readonly mac: string }
  | {
      readonly type: 'mac-moved';
      readonly port: string;
      readonly fromPort: string;
      readonly mac: string;
    };

/** Every event under its own type, all of them under `event`, and `closed` when there are no more. */
export type SwitchEventMap = {
  [Type in SwitchEvent['type']]: [Extract<SwitchEvent, { type: Type }>];
} & {
  event: [SwitchEvent];
  closed: [];
};

/** How a stream of events ends. */
export interface EventStreamOptions {
  /** Ends the stream with the signal's reason. */
  readonly signal?: AbortSignal;
}

export function streamEvents(
  emitter: EventEmitter<SwitchEventMap>,
  { signal }: EventStreamOptions,
): AsyncIterableIterator<SwitchEvent> {
  const options = { close: ['closed'], ...(signal === undefined ? {} : { signal }) };
  // Not a generator, which would begin to listen at the first read only.
  const source = on(emitter as unknown as EventEmitter, 'event', options);
  const next = async (): Promise<IteratorResult<SwitchEvent, undefined>> => {
    const { done, value } = await source.next();
    return done === true ? { done, value: undefined } : { done: false, value: value[0] };
  };
  return {
    next,
    return: async () => {
      await source.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
