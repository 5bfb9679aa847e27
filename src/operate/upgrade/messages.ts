/**
 * What two processes say to each other while one takes over from the other: bundles whose text is
 * JSON.
 *
 *     next                                 present
 *       hello: versions it reads  ──────►
 *                                 ◄──────  offer: settings, sockets          (present forwards)
 *       ready, or failed          ──────►
 *                                 ◄──────  addresses, any number of times
 *                                 ◄──────  session, for each                 (nobody forwards)
 *                                 ◄──────  take
 *       forwards, or failed       ──────►                                    (next forwards)
 *                                 ◄──────  go: the service manager knows
 *
 * The present process writes the latest version that both know. A release reads what the one before
 * it wrote: test/operate/upgrade/released has a recording of every version. What is added to a
 * message with a default needs no other version.
 */

import type { SwitchSettings } from '../../index.ts';
import type { Bundle } from '../../native/bundle.ts';
import type { ListeningSocket } from '../../native/fd-socket.ts';
import type { LeftSession } from '../../native/stored-sessions.ts';
import type { Manager } from '../service/service.ts';
import type { ServiceSettings } from '../settings.ts';

/** Of all messages from the offer on. */
export const version = 1;
export const versionsRead: readonly number[] = [1];

export interface Hello {
  readonly say: 'hello';
  readonly reads: readonly number[];
  /** Of the program. */
  readonly version: string;
}

/** Fds: one for each of `sockets`, then for each of `held`. */
export interface Offer {
  readonly say: 'offer';
  readonly version: number;
  readonly settings: SwitchSettings;
  readonly service: ServiceSettings;
  /** What the file of the switch said when it was read last. */
  readonly declared?: SwitchSettings;
  readonly sockets: readonly Omit<ListeningSocket, 'fd'>[];
  readonly held: readonly HeldName[];
  readonly manager?: Manager;
}

/** TCP sockets that listen, and the lock of the state folder. */
export type HeldName = 'metrics' | 'control' | 'lock';

/** Of a bridge; a part of what was learned. */
export interface Addresses {
  readonly say: 'addresses';
  readonly bridge: string;
  /** MAC as a number, VLAN, name of the port. */
  readonly learned: readonly LearnedPlace[];
}
export type LearnedPlace = readonly [mac: number, vlan: number, port: string];

/** Fds: those of the bundle, then of where it is stored, if that has a name. */
export interface SessionMessage {
  readonly say: 'session';
  readonly name: string;
  readonly text: string;
  readonly stored?: string;
}

export type ToNext = Offer | Addresses | SessionMessage | { readonly say: 'take' | 'go' };

export type ToPresent =
  | Hello
  | { readonly say: 'ready' | 'forwards' }
  | { readonly say: 'failed'; readonly sentence: string };

export function bundleOf(message: ToNext | ToPresent, fds: readonly number[] = []): Bundle {
  return { text: JSON.stringify(message), fds };
}

/** Throws where it is no message; what it says is the sender's, which is this program. */
export function messageOf<Message extends ToNext | ToPresent>({ text }: Bundle): Message {
  const message = JSON.parse(text) as Message;
  if (typeof message?.say !== 'string') throw new Error('it says nothing');
  return message;
}

export function sessionMessage({ name, bundle, stored }: LeftSession): Bundle {
  const message = { say: 'session', name, text: bundle.text } as const;
  if (stored === undefined) return bundleOf(message, bundle.fds);
  return bundleOf({ ...message, stored: stored.name }, [...bundle.fds, ...stored.fds]);
}

/** A place has two ends and a word (service/session-place.ts). */
const storedFds = 3;

export function leftSessionOf({ name, text, stored }: SessionMessage, fds: readonly number[]) {
  if (stored === undefined) return { name, bundle: { text, fds }, stored: undefined };
  return {
    name,
    bundle: { text, fds: fds.slice(0, -storedFds) },
    stored: { name: stored, fds: fds.slice(-storedFds) },
  };
}
