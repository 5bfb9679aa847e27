/**
 * Hands this switch over to a new process of whatever version is installed, while frames go on
 * until the last moment: messages.ts says in which steps.
 *
 * At every step the new process may end, fail, be of another version or not answer: then it is
 * ended, this one takes its sessions back and goes on, and who asked is told why. Two processes
 * never move the frames of one ring: this one takes its sessions back once the other end of the
 * talk has gone, which only the end of the process that had it does.
 *
 * Runs on the event loop's thread. Sources: sd_notify(3) "MAINPID=", unix(7) SCM_RIGHTS.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Upgraded } from '../../control/index.ts';
import type { SwitchSettings } from '../../index.ts';
import { failure, type TsvswitchError } from '../../model/errors.ts';
import { native } from '../../native/addon.ts';
import { closeAll } from '../../native/bundle.ts';
import { FdListener, type FdSocket, type ListeningSocket } from '../../native/fd-socket.ts';
import { gate } from '../../native/gate.ts';
import type { LeftSession } from '../../native/stored-sessions.ts';
import { Talk } from '../../native/talk.ts';
import { version as programVersion } from '../../runtime/version.ts';
import type { Manager } from '../service/service.ts';
import type { ServiceSettings } from '../settings.ts';
import {
  type Addresses,
  bundleOf,
  type HeldName,
  type Hello,
  messageOf,
  type Offer,
  sessionMessage,
  type ToPresent,
  version,
} from './messages.ts';
import { type Report, Starter } from './starter.ts';

/** The switch of this process, as far as it is handed over. */
export interface Present {
  readonly settings: () => SwitchSettings;
  readonly service: ServiceSettings;
  readonly declared: () => SwitchSettings | undefined;
  readonly manager: Manager | undefined;
  /** Copies. */
  readonly sockets: () => ListeningSocket[];
  readonly held: () => (readonly [HeldName, number])[];
  readonly addresses: () => Omit<Addresses, 'say'>[];
  /** No frontend is in the midst of a message. */
  readonly isSettled: () => boolean;
  /** From now on, until resume(), nobody changes anything. */
  readonly pause: () => void;
  readonly resume: () => void;
  readonly leave: () => LeftSession[];
  readonly takeBack: (left: readonly LeftSession[]) => void;
  /** The process with this number is the switch now. */
  readonly handedOver: (pid: number) => void;
}

const startMsMax = 10_000;
const takeMsMax = 2000;
/** A frontend that is still in the midst of a message then loses its session. */
const settleMsMax = 500;
const settleStepMs = 2;
const killAgainMs = 1000;
/** What has ended is told later than its sockets are closed. */
const reportMs = 10;
const reportMsMax = 500;
const millisecond = 1000;

export class Upgrade {
  readonly #starter: Starter;
  readonly #place: string;
  #isBusy = false;

  private constructor(starter: Starter, place: string) {
    this.#starter = starter;
    this.#place = place;
  }

  /**
   * Before the process confines itself. The next process finds this one at a socket beside
   * `control`.
   */
  static begin(control: string): Upgrade {
    const place = `${control}.upgrade`;
    return new Upgrade(Starter.begin(place), place);
  }

  /**
   * Once this returns, this process has to end, and to leave its sockets where they are. Throws
   * UPGRADE_BUSY, UPGRADE_FAILED, and what FdListener.listen throws; then all is as it was.
   */
  async run(present: Present): Promise<Upgraded> {
    if (this.#isBusy) throw failure('upgrade-busy');
    if (this.#starter.isGone) throw failure('upgrade-no-starter');
    refuseKinds(present.settings());
    this.#isBusy = true;
    const attempt = new Attempt(this.#starter, this.#place, present);
    try {
      return await attempt.run();
    } catch (error) {
      await attempt.undo();
      throw error;
    } finally {
      this.#isBusy = false;
    }
  }

  /** Ends a process that is being handed over to: this one ends. */
  abort(): void {
    if (this.#isBusy) this.#starter.kill();
  }
}

class Attempt {
  readonly #starter: Starter;
  readonly #place: string;
  readonly #present: Present;
  readonly #reports: Report[] = [];
  #onReport: () => void = () => {};
  #talk: Talk | undefined;
  #left: LeftSession[] | undefined;

  constructor(starter: Starter, place: string, present: Present) {
    this.#starter = starter;
    this.#place = place;
    this.#present = present;
  }

  async run(): Promise<Upgraded> {
    const present = this.#present;
    const { talk, pid } = await this.#start();
    const hello = (await this.#answer(talk, 'hello', startMsMax)) as Hello;
    if (!hello.reads.includes(version)) {
      throw failure('upgrade-versions', { reads: hello.reads.join(', '), version });
    }
    const settings = present.settings();
    await this.#offer(talk, settings);
    await this.#answer(talk, 'ready', startMsMax);
    for (const addresses of present.addresses()) {
      await this.#send(talk, bundleOf({ say: 'addresses', ...addresses }));
    }
    await this.#settled();
    present.pause();
    if (!isDeepStrictEqual(settings, present.settings())) throw failure('upgrade-changed');
    const beganMs = performance.now();
    gate.close();
    const left = present.leave();
    this.#left = left;
    for (const session of left) await this.#send(talk, sessionMessage(session));
    await this.#send(talk, bundleOf({ say: 'take' }));
    await this.#answer(talk, 'forwards', takeMsMax);
    const pauseMs = performance.now() - beganMs;
    this.#starter.leave();
    await this.#report('left');
    present.handedOver(pid);
    await talk.send(bundleOf({ say: 'go' }), takeMsMax);
    return {
      ...{ version: hello.version, from: programVersion, pid, sessions: left.length },
      pauseMs: Math.round(pauseMs * millisecond) / millisecond,
    };
  }

  /** The new process ends, and this one is as before. */
  async undo(): Promise<void> {
    if (this.#reports.some(({ kind }) => kind === 'started')) this.#starter.kill();
    // Its end is this end: it may still move frames until then.
    while (this.#talk !== undefined && !(await this.#talk.ended(killAgainMs))) this.#starter.kill();
    this.#talk?.close();
    if (this.#left !== undefined) this.#present.takeBack(this.#left);
    gate.open();
    this.#present.resume();
  }

  /** The process, once it is there to talk. */
  async #start(): Promise<{ talk: Talk; pid: number }> {
    const listener = FdListener.listen(this.#place, { mode: 0o600 });
    const waiting: FdSocket[] = [];
    try {
      listener.onConnection(
        (socket) => {
          waiting.push(socket);
          this.#onReport();
        },
        () => {},
      );
      this.#starter.start((report) => {
        this.#reports.push(report);
        this.#onReport();
      });
      const { pid } = await this.#report('started');
      const socket = await this.#next(() => {
        const found = waiting.find(({ peer }) => peer.pid === pid);
        if (found === undefined) this.#checkRuns();
        return found;
      });
      const [ours, theirs] = native().socketPair();
      this.#talk = new Talk(ours);
      socket.send(Buffer.of(0), [theirs]);
      native().closeFd(theirs);
      return { talk: this.#talk, pid };
    } finally {
      listener.close();
      for (const socket of waiting) socket.close();
    }
  }

  async #offer(talk: Talk, settings: SwitchSettings): Promise<void> {
    const { service, manager, ...present } = this.#present;
    const sockets = present.sockets();
    const held = present.held();
    const declared = present.declared();
    const offer: Offer = {
      ...{ say: 'offer', version, settings, service },
      ...(declared === undefined ? {} : { declared }),
      sockets: sockets.map(({ path, origin }) => ({ path, origin })),
      held: held.map(([name]) => name),
      ...(manager === undefined ? {} : { manager }),
    };
    const fds = [...sockets.map(({ fd }) => fd), ...held.map(([, fd]) => fd)];
    try {
      await this.#send(talk, bundleOf(offer, fds));
    } finally {
      closeAll(fds);
    }
  }

  async #settled(): Promise<void> {
    const lastMs = performance.now() + settleMsMax;
    while (!this.#present.isSettled() && performance.now() < lastMs) await delay(settleStepMs);
  }

  async #send(talk: Talk, bundle: ReturnType<typeof bundleOf>): Promise<void> {
    if (!(await talk.send(bundle, takeMsMax))) throw await this.#gone(takeMsMax);
  }

  /** Throws why it did not say that. */
  async #answer(talk: Talk, say: ToPresent['say'], limitMs: number): Promise<ToPresent> {
    const read = await talk.read(limitMs);
    if (read === 'end') throw await this.#gone(limitMs);
    if (read === 'late') throw failure('upgrade-late', { seconds: limitMs / millisecond });
    closeAll(read.fds);
    const message = messageOf<ToPresent>(read);
    if (message.say === 'failed') throw failure('upgrade-refused', { why: message.sentence });
    if (message.say !== say) throw failure('upgrade-strange', { said: message.say, wanted: say });
    return message;
  }

  /** Why it has gone. */
  async #gone(limitMs: number): Promise<TsvswitchError> {
    const lastMs = performance.now() + reportMsMax;
    while (this.#status === undefined && performance.now() < lastMs) await delay(reportMs);
    const status = this.#status;
    if (status !== undefined) return failure('upgrade-ended', { status });
    return failure('upgrade-broke-off', { seconds: limitMs / millisecond });
  }

  /** With which it has ended. */
  get #status(): number | undefined {
    const started = this.#reports.find(({ kind }) => kind === 'started');
    for (const report of this.#reports) {
      if (report.kind !== 'ended' || started?.kind !== 'started') continue;
      if (report.pid === started.pid) return report.status;
    }
    return undefined;
  }

  #checkRuns(): void {
    const status = this.#status;
    if (status !== undefined) throw failure('upgrade-ended', { status });
    if (this.#starter.isGone) throw failure('upgrade-no-starter');
  }

  #report<Kind extends Report['kind']>(kind: Kind): Promise<Report & { kind: Kind }> {
    return this.#next(() => {
      const found = this.#reports.find((report) => report.kind === kind);
      if (found === undefined) this.#checkRuns();
      return found as (Report & { kind: Kind }) | undefined;
    });
  }

  /** What `look` finds, now or after something was heard. Throws UPGRADE_FAILED if it is late. */
  async #next<Found>(look: () => Found | undefined): Promise<Found> {
    const lastMs = performance.now() + startMsMax;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const leftMs = lastMs - performance.now();
      if (leftMs <= 0) throw failure('upgrade-late', { seconds: startMsMax / millisecond });
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#onReport = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Ports whose sockets cannot be handed over. */
function refuseKinds({ ports }: SwitchSettings): void {
  for (const [port, { kind }] of Object.entries(ports)) {
    if (kind === 'dgram') throw failure('upgrade-port', { port, kind });
  }
}
