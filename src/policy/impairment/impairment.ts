/**
 * The impairments of a link in the words of a program, checked and turned into those of the data
 * plane.
 *
 * Everything that was given is checked, also that nothing else was: a misspelt `los` would
 * otherwise make a test pass that should not. How each impairment works is in
 * native/core/policy/link.h. Pure.
 */

import { bad, fields } from '../../model/option-checks.ts';
import type { ImpairmentSettings } from '../../model/settings.ts';
import type { LinkSettings } from '../../native/addon.ts';
import { nanoseconds } from '../../runtime/clock.ts';

/**
 * All that is wrong with a link at a time; what is left out is not. Probabilities are 0 to 1 for
 * each frame. A link carries no offloads: packets of 64 KiB are cut and checksums completed before
 * it.
 */
export interface Impairment {
  /** Nothing passes. */
  readonly blackhole?: boolean;
  /** The longest packet, without Ethernet header and VLAN tag; longer ones are dropped. */
  readonly mtuBytes?: number;
  readonly rate?: Rate;
  /** The probability that a frame is lost, or losses that come in bursts. */
  readonly loss?: number | BurstLoss;
  readonly delayMs?: number;
  /** The delay varies evenly by up to this much, up and down; that alone reorders nothing. */
  readonly jitterMs?: number;
  /** The probability that a frame arrives twice. */
  readonly duplicate?: number;
  /** The probability that one bit of a frame arrives inverted. */
  readonly corrupt?: number;
  readonly reorder?: Reorder;
}

/** How much passes, and what may wait. */
export interface Rate {
  readonly bitsPerSecond: number;
  /** What may wait for its turn; more is dropped. 65536 unless given. */
  readonly queueBytes?: number;
}

/** Gilbert and Elliott's model: the wire is good or bad, and may change with each frame. */
export interface BurstLoss {
  /** The probability that a good wire turns bad. */
  readonly turnsBad: number;
  /** The probability that a bad wire turns good; bursts are 1 / turnsGood frames long. */
  readonly turnsGood: number;
  /**
   * The probability of a loss while it is bad, 1 unless given, and while it is good, 0 unless
   * given.
   */
  readonly lossWhenBad?: number;
  readonly lossWhenGood?: number;
}

/** Frames that are late. */
export interface Reorder {
  /** The probability that a frame is late, so that those behind it pass. */
  readonly probability: number;
  readonly lateByMs: number;
}

/** A day: longer than any test, and exact as a number of nanoseconds. */
const delayMsMax = 86_400_000;
const queueBytesDefault = 65_536;
const queueBytesMax = 2 ** 31;
/** Slower than a modem of 1962; at less, one frame would take hours. */
const bitsPerSecondMin = 300;
const bitsPerSecondMax = 10 ** 12;
const ethernetHeaderBytes = 14;
/** RFC 791: what every link must carry. */
const mtuBytesMin = 68;
const mtuBytesMax = 65_536;

/** What the data plane is told, or undefined where nothing is wrong. Throws BAD_OPTION. */
export function linkSettings(impairment: Impairment, seed: bigint): LinkSettings | undefined {
  const given = fields('impairment', impairment, [
    ...['blackhole', 'mtuBytes', 'rate', 'loss', 'delayMs', 'jitterMs', 'duplicate', 'corrupt'],
    'reorder',
  ]);
  if (Object.values(given).every((value) => value === undefined)) return undefined;
  const { blackhole = false, mtuBytes, delayMs = 0, jitterMs = 0 } = given;
  if (typeof blackhole !== 'boolean') throw bad('blackhole', blackhole, 'true or false');
  const delayNs = nanoseconds(number('delayMs', delayMs, 0, delayMsMax));
  const jitterNs = nanoseconds(number('jitterMs', jitterMs, 0, delayMsMax));
  if (jitterNs > delayNs) {
    throw bad('jitterMs', jitterMs, `at most delayMs, which is ${String(delayMs)}`);
  }
  const frameBytesMax =
    mtuBytes === undefined
      ? 0
      : whole('mtuBytes', mtuBytes, mtuBytesMin, mtuBytesMax) + ethernetHeaderBytes;
  return {
    seed,
    blackhole,
    frameBytesMax,
    delayNs,
    jitterNs,
    ...rateSettings(given.rate),
    ...lossSettings(given.loss),
    duplicate: probability('duplicate', given.duplicate ?? 0),
    corrupt: probability('corrupt', given.corrupt ?? 0),
    ...reorderSettings(given.reorder),
  };
}

/** The same, which was checked, as settings: with every default in its place. */
export function completed(impairment: Impairment): ImpairmentSettings {
  const { blackhole = false, rate } = impairment;
  const whole = {
    ...impairment,
    blackhole,
    ...(rate === undefined
      ? {}
      : { rate: { ...rate, queueBytes: rate.queueBytes ?? queueBytesDefault } }),
  };
  // What is undefined is left out, at every depth.
  return JSON.parse(JSON.stringify(whole)) as ImpairmentSettings;
}

function rateSettings(rate: unknown) {
  if (rate === undefined) return { bitsPerSecond: 0, queueBytes: 0 };
  const { bitsPerSecond, queueBytes } = fields('rate', rate, ['bitsPerSecond', 'queueBytes']);
  return {
    bitsPerSecond: whole('rate.bitsPerSecond', bitsPerSecond, bitsPerSecondMin, bitsPerSecondMax),
    queueBytes: whole('rate.queueBytes', queueBytes ?? queueBytesDefault, 0, queueBytesMax),
  };
}

function lossSettings(loss: unknown) {
  if (loss === undefined || typeof loss === 'number') {
    const lossGood = probability('loss', loss ?? 0);
    return { turnsBad: 0, turnsGood: 0, lossGood, lossBad: 0 };
  }
  const names = ['turnsBad', 'turnsGood', 'lossWhenBad', 'lossWhenGood'];
  const given = fields('loss', loss, names);
  return {
    turnsBad: probability('loss.turnsBad', given.turnsBad),
    turnsGood: probability('loss.turnsGood', given.turnsGood),
    lossBad: probability('loss.lossWhenBad', given.lossWhenBad ?? 1),
    lossGood: probability('loss.lossWhenGood', given.lossWhenGood ?? 0),
  };
}

function reorderSettings(reorder: unknown) {
  if (reorder === undefined) return { reorder: 0, reorderNs: 0 };
  const given = fields('reorder', reorder, ['probability', 'lateByMs']);
  const lateNs = nanoseconds(number('reorder.lateByMs', given.lateByMs, 0, delayMsMax));
  if (lateNs === 0) throw bad('reorder.lateByMs', given.lateByMs, 'more than 0');
  return {
    reorder: probability('reorder.probability', given.probability),
    reorderNs: lateNs,
  };
}

export function number(name: string, value: unknown, min: number, max: number): number {
  // Also false for NaN.
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw bad(name, value, `a number from ${min} to ${max}`);
}

function whole(name: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value)) return number(name, value, min, max);
  throw bad(name, value, `an integer from ${min} to ${max}`);
}

function probability(name: string, value: unknown): number {
  return number(name, value, 0, 1);
}
