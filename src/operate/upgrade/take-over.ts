/**
 * Takes over from the switch that has had this process started: messages.ts says in which steps.
 *
 * Until it has taken over, nobody is served here (native/gate.ts) and the service manager hears
 * nothing from here: for it the other process is the service.
 */

import { settingsOf } from '../../model/check.ts';
import { failure } from '../../model/errors.ts';
import type { SwitchSettings } from '../../model/settings.ts';
import { closeAll } from '../../native/bundle.ts';
import { FdSocket } from '../../native/fd-socket.ts';
import { gate } from '../../native/gate.ts';
import { storedListeners } from '../../native/stored-listeners.ts';
import type { LeftSession } from '../../native/stored-sessions.ts';
import { Talk } from '../../native/talk.ts';
import { version as programVersion } from '../../runtime/version.ts';
import type { Manager } from '../service/service.ts';
import type { ServiceSettings } from '../settings.ts';
import {
  type Addresses,
  bundleOf,
  type HeldName,
  leftSessionOf,
  messageOf,
  type Offer,
  type SessionMessage,
  type ToNext,
  versionsRead,
} from './messages.ts';
import { placeVariable } from './place.ts';

/** What is to be gone on with. */
export interface Taken {
  readonly sessions: readonly LeftSession[];
  readonly addresses: readonly Addresses[];
}

/** The other process has limits of its own, which are shorter. */
const limitMs = 60_000;

export class TakeOver {
  /** What the switch is. */
  readonly settings: SwitchSettings;
  readonly service: ServiceSettings;
  readonly declared: SwitchSettings | undefined;
  readonly manager: Manager | undefined;
  readonly #talk: Talk;
  readonly #held: ReadonlyMap<HeldName, number>;

  private constructor(talk: Talk, offer: Offer, fds: readonly number[]) {
    this.#talk = talk;
    this.settings = settingsOf(offer.settings);
    this.service = offer.service;
    this.declared = offer.declared === undefined ? undefined : settingsOf(offer.declared);
    this.manager = offer.manager;
    this.#held = new Map(offer.held.map((name, i) => [name, fds[offer.sockets.length + i]!]));
    offer.sockets.forEach(({ path, origin }, i) => {
      storedListeners.add(path, { fd: fds[i]!, origin });
    });
  }

  /**
   * Once in a process, at its start; undefined where nobody is to be taken over from. Throws
   * UPGRADE_FAILED.
   */
  static async begin(env: NodeJS.ProcessEnv): Promise<TakeOver | undefined> {
    const place = env[placeVariable];
    delete env[placeVariable];
    if (place === undefined) return undefined;
    gate.close();
    const talk = await talkAt(place);
    try {
      const reads = versionsRead;
      await talk.send(bundleOf({ say: 'hello', reads, version: programVersion }), limitMs);
      const { message, fds } = await next(talk);
      if (message.say !== 'offer') throw failure('upgrade-no-offer');
      return new TakeOver(talk, message, fds);
    } catch (error) {
      await failed(talk, (error as Error).message);
      throw error;
    }
  }

  /** The caller's; undefined if there was none. */
  held(name: HeldName): number | undefined {
    return this.#held.get(name);
  }

  /**
   * The switch is here and serves nobody: goes on with what there is by `goOn`, and returns once
   * this process is the switch. Throws UPGRADE_FAILED.
   */
  async take(goOn: (taken: Taken) => void): Promise<void> {
    await this.#talk.send(bundleOf({ say: 'ready' }), limitMs);
    goOn(await this.#taken());
    gate.open();
    await this.#talk.send(bundleOf({ say: 'forwards' }), limitMs);
    // Or the other one has ended: nobody else forwards then.
    await this.#talk.read(limitMs);
    this.#talk.close();
  }

  /** This process is no switch, and ends. */
  fail(sentence: string): Promise<void> {
    return failed(this.#talk, sentence);
  }

  async #taken(): Promise<Taken> {
    const sessions: LeftSession[] = [];
    const addresses: Addresses[] = [];
    for (;;) {
      const { message, fds } = await next(this.#talk);
      if (message.say === 'session') sessions.push(leftSessionOf(message as SessionMessage, fds));
      else closeAll(fds);
      if (message.say === 'addresses') addresses.push(message as Addresses);
      if (message.say === 'take') return { sessions, addresses };
    }
  }
}

async function failed(talk: Talk, sentence: string): Promise<void> {
  await talk.send(bundleOf({ say: 'failed', sentence }), limitMs);
  // The end of this process closes it, and nothing before: rings may run.
  talk.rest();
}

async function next(talk: Talk): Promise<{ message: ToNext; fds: readonly number[] }> {
  const read = await talk.read(limitMs);
  if (typeof read === 'string') throw failure('upgrade-no-offer');
  return { message: messageOf<ToNext>(read), fds: read.fds };
}

/** With the process that listens at `place`: one end of a pair comes from there. */
export async function talkAt(place: string): Promise<Talk> {
  const socket = FdSocket.connect(place);
  try {
    for (;;) {
      const received = socket.receive(1);
      if (received === 'end') throw failure('upgrade-no-offer');
      if (received !== 'would-block') return new Talk(received.fds[0]!);
      await new Promise<void>((resolve) => socket.onReadable(resolve));
    }
  } finally {
    socket.close();
  }
}
