/**
 * Waiting for a frame that matches, and saying what came instead. It works with whatever can
 * receive: a TestGuest, or anything of the same shape.
 */

import { failure, type TsvswitchError } from '../../model/errors.ts';
import { describe } from './describe.ts';
import { checkMatcher, describeMatcher, differences, type FrameMatcher } from './match.ts';
import { type ParsedFrame, parse } from './parse.ts';

/** How long to wait for a frame. */
export interface ExpectOptions {
  /** The longest to wait, in milliseconds. */
  readonly within?: number;
}

/** Where frames come from: rejects with TIMEOUT if none comes within the limit. */
export interface FrameSource {
  /** The next frame; rejects with TIMEOUT if none comes in so many milliseconds. */
  receive(options: { readonly timeoutMs: number }): Promise<Uint8Array>;
}

/** A failure that printed every frame of a busy network would be read by nobody. */
const shownMax = 5;

/**
 * The next frame that matches, parsed; others are passed over. Rejects with TIMEOUT, saying what
 * was expected, what came instead and where it differs; with BAD_OPTION for what is no matcher; or
 * as the source does for any other reason.
 */
export async function expectFrame(
  source: FrameSource,
  matcher: FrameMatcher,
  { within = 1000 }: ExpectOptions = {},
): Promise<ParsedFrame> {
  checkMatcher(matcher);
  const deadlineMs = performance.now() + within;
  const others: string[] = [];
  let count = 0;
  for (;;) {
    // Frames that keep coming do not put the end off.
    const leftMs = deadlineMs - performance.now();
    if (count > 0 && leftMs <= 0) throw timeout(matcher, within, others, count);
    let frame: Uint8Array;
    try {
      frame = await source.receive({ timeoutMs: count === 0 ? within : leftMs });
    } catch (error) {
      if ((error as TsvswitchError).code !== 'TIMEOUT') throw error;
      throw timeout(matcher, within, others, count);
    }
    const found = differences(frame, matcher);
    if (found.length === 0) return parse(frame);
    count++;
    others.push(gotText(frame, found));
    if (others.length > shownMax) others.shift();
  }
}

/** The frame, parsed, if it matches. Throws FRAME_MISMATCH, saying where it differs. */
export function assertFrame(frame: Uint8Array, matcher: FrameMatcher): ParsedFrame {
  checkMatcher(matcher);
  const found = differences(frame, matcher);
  if (found.length === 0) return parse(frame);
  throw failure('frame-mismatch', {
    expected: describeMatcher(matcher),
    got: gotText(frame, found),
  });
}

function gotText(frame: Uint8Array, found: readonly string[]): string {
  return `${describe(frame)} (${found.join('; ')})`;
}

function timeout(
  matcher: FrameMatcher,
  within: number,
  others: readonly string[],
  count: number,
): TsvswitchError {
  const expected = `expected ${describeMatcher(matcher)}`;
  const limit = `within ${within} ms`;
  if (count <= 1) {
    return failure('frame-not-come', { expected, got: others[0] ?? 'nothing', limit });
  }
  const last = count > others.length ? `; the last ${others.length}` : '';
  const list = others.map((line) => `\n  ${line}`).join('');
  return failure('frame-not-among', { expected, count, limit, last, list });
}
