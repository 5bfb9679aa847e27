/**
 * Whether a backend survives an attack, from what can be seen of it and nothing else: how its
 * process ended, the numbered frames of the bystanders, frames both ways for the next machine on
 * the attacked port, and what the process still holds when that machine is gone.
 *
 * Something that is held counts as a leak only if the same attack makes it grow once more: what a
 * backend keeps for the next time is its own business.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Exit } from '../../bench/process.ts';
import { TsvswitchError } from '../../src/model/errors.ts';
import type { Attack } from './attacks/attack.ts';
import { type Damage, Silence } from './flood.ts';
import { NotForwarded, NotOffered } from './outcome.ts';
import { connectMachines, type Holdings, patienceMs, Stage } from './stage.ts';
import type { RunningTarget, Target } from './targets.ts';

export type Verdict =
  | { readonly kind: 'survived' }
  /** Survived by ending the attacker's session. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'not offered' }
  /** Survived, and what was legal did not arrive. */
  | { readonly kind: 'not forwarded' }
  | { readonly kind: 'leaked'; readonly what: string }
  | { readonly kind: 'bystanders lost frames'; readonly damage: Damage }
  /** The next machine on the attacked port is not served. */
  | { readonly kind: 'port dead' }
  /** The bystanders' sessions were ended. */
  | { readonly kind: 'bystanders cut off' }
  | { readonly kind: 'hung' }
  | { readonly kind: 'crashed'; readonly exit: Exit };

/** The process goes on, nobody else has lost anything, and nothing is left behind. */
export function isSurvival({ kind }: Verdict): boolean {
  return ['survived', 'refused', 'not offered', 'not forwarded'].includes(kind);
}

/**
 * A target that runs, the machines around it, and what it holds while nobody is on the attacked
 * port.
 */
interface Up {
  readonly running: RunningTarget;
  readonly stage: Stage;
  idle: Holdings;
}

const startsMax = 3;
const pollMs = 10;
/** What is held is believed once it stayed the same for so many looks. */
const sameLooks = 5;

/**
 * A target with the machines around it; started when it is first needed, and again when it is
 * spoilt.
 */
export class Subject {
  readonly target: Target;
  readonly #patienceMs: number;
  #up: Up | undefined;

  /** What has to happen, may take `patience`: a verdict that it does not takes as long. */
  constructor(target: Target, patience = patienceMs) {
    this.target = target;
    this.#patienceMs = patience;
  }

  /** Attacks it once. Throws if it cannot be started or served without an attack. */
  async judge(attack: Attack): Promise<Verdict> {
    const { stage } = await this.#start();
    const verdict = await this.#judge(attack, stage);
    // A leak spoils nothing: what is held now is what the next attack finds.
    if (!isSurvival(verdict) && verdict.kind !== 'leaked') await this.stop();
    return verdict;
  }

  async stop(): Promise<void> {
    const up = this.#up;
    this.#up = undefined;
    up?.stage.disperse();
    await up?.running.stop();
  }

  /** Some do not answer everybody right after their start, and are then started again. */
  async #start(): Promise<Up> {
    for (let attempt = 1; this.#up === undefined; attempt++) {
      const running = await this.target.start();
      let stage: Stage | undefined;
      try {
        const backend = { ...running, patienceMs: this.#patienceMs };
        stage = new Stage(backend, await connectMachines(backend));
        await serve(stage);
        stage.dismiss();
        this.#up = { running, stage, idle: await settled(stage) };
      } catch (error) {
        stage?.disperse();
        await running.stop();
        if (attempt === startsMax) throw error;
      }
    }
    return this.#up;
  }

  async #judge(attack: Attack, stage: Stage): Promise<Verdict> {
    const before = stage.flood.damage;
    try {
      const verdict = await attempt(attack, stage);
      await stage.goOn(2);
      const { damage } = stage.flood;
      if (!isDeepStrictEqual(damage, before)) {
        return { kind: 'bystanders lost frames', damage: difference(damage, before) };
      }
      if (!(await isServed(stage))) return { kind: 'port dead' };
      return (await this.#leak(attack, stage)) ?? verdict;
    } catch (error) {
      return await this.#ruin(error, before);
    } finally {
      stage.dismiss();
    }
  }

  /** What the backend holds on to, after the attack and again after another one. */
  async #leak(attack: Attack, stage: Stage): Promise<Verdict | undefined> {
    const { idle } = this.#up!;
    const first = await settled(stage, idle);
    if (isDeepStrictEqual(first, idle)) return undefined;
    await attempt(attack, stage);
    await stage.goOn(2);
    await isServed(stage);
    const second = await settled(stage, first);
    const what = growth(first, second);
    this.#up!.idle = second;
    return what === '' ? undefined : { kind: 'leaked', what };
  }

  /** What is to be said when the bystanders could not go on. */
  async #ruin(error: unknown, before: Damage): Promise<Verdict> {
    const { running, stage } = this.#up!;
    const deadlineMs = performance.now() + this.#patienceMs;
    const isSilent = error instanceof Silence;
    while (running.exit() === undefined && !isSilent && performance.now() < deadlineMs) {
      await sleep(pollMs);
    }
    const exit = running.exit();
    if (exit !== undefined) return { kind: 'crashed', exit };
    if (error instanceof TsvswitchError) return { kind: 'bystanders cut off' };
    if (!isSilent) throw error;
    try {
      await stage.goOn();
    } catch (again) {
      return running.exit() === undefined && again instanceof Silence
        ? { kind: 'hung' }
        : await this.#ruin(again, before);
    }
    return { kind: 'bystanders lost frames', damage: difference(stage.flood.damage, before) };
  }
}

/** One strike, and what became of the attacker. */
async function attempt(attack: Attack, stage: Stage): Promise<Verdict> {
  let kind: 'survived' | 'not offered' | 'not forwarded' = 'survived';
  try {
    await attack.strike(stage);
  } catch (error) {
    if (error instanceof NotOffered) kind = 'not offered';
    else if (error instanceof NotForwarded) kind = 'not forwarded';
    // The attacker's own end; that of others shows as soon as they go on.
    else if (!(error instanceof TsvswitchError) && !(error instanceof Silence)) throw error;
  }
  const hasRefused = stage.hasRefused;
  stage.dismiss();
  return hasRefused && kind === 'survived' ? { kind: 'refused' } : { kind };
}

/** Frames both ways for a machine that behaves. */
async function serve(stage: Stage): Promise<void> {
  const guest = await stage.connect();
  await stage.hear(guest);
  await stage.reach(guest);
}

/**
 * Whether a machine is served in time; a port may have been closed for a while after what happened.
 */
async function isServed(stage: Stage): Promise<boolean> {
  const deadlineMs = performance.now() + stage.backend.patienceMs;
  do {
    try {
      await serve(stage);
      return true;
    } catch (error) {
      if (!(error instanceof NotForwarded) && !(error instanceof TsvswitchError)) throw error;
      // If it is not this port alone, the bystanders say so.
      await stage.goOn();
    } finally {
      stage.dismiss();
    }
  } while (performance.now() < deadlineMs);
  return false;
}

/**
 * What is held when nobody is on the attacked port: `expected` as soon as it is that, or what
 * stays.
 */
async function settled(stage: Stage, expected?: Holdings): Promise<Holdings> {
  const deadlineMs = performance.now() + stage.backend.patienceMs;
  let last = stage.holdings();
  for (let same = 0; performance.now() < deadlineMs; ) {
    if (isDeepStrictEqual(last, expected)) break;
    if (expected === undefined && same === sameLooks) break;
    await sleep(pollMs);
    const holdings = stage.holdings();
    same = isDeepStrictEqual(holdings, last) ? same + 1 : 0;
    last = holdings;
  }
  return last;
}

function growth(before: Holdings, after: Holdings): string {
  const [files, mappings, threads] = [
    after.files.length - before.files.length,
    after.guestMappings - before.guestMappings,
    after.threads - before.threads,
  ];
  return [
    ...(files > 0 ? [`${files} fds`] : []),
    ...(mappings > 0 ? [`${mappings} mappings`] : []),
    ...(threads > 0 ? [`${threads} threads`] : []),
  ].join(', ');
}

function difference(after: Damage, before: Damage): Damage {
  return {
    lost: after.lost - before.lost,
    damaged: after.damaged - before.damaged,
    strays: after.strays - before.strays,
  };
}
