/**
 * Decides which transmitq should move to which worker, from what each moved lately. Pure.
 *
 * One move a time: the one that brings the busiest and the idlest worker closest together, and only
 * if it closes a fair part of the gap between them, so that queues do not wander between equals.
 */

/** A transmitq that runs, where it is polled, and how many frames it moved since the last look. */
export interface TransmitqLoad {
  readonly port: number;
  readonly queue: number;
  readonly worker: number;
  readonly frames: number;
}

export interface Move {
  readonly port: number;
  readonly queue: number;
  readonly worker: number;
}

/** A gap smaller than this share of the busiest worker's load is left alone. */
const gapShareMin = 0.25;

/** The best single move among `workers` workers, or undefined if things are even enough. */
export function chooseMove(loads: readonly TransmitqLoad[], workers: number): Move | undefined {
  const totals = new Array<number>(workers).fill(0);
  for (const { worker, frames } of loads) totals[worker]! += frames;
  const busiest = totals.indexOf(Math.max(...totals));
  const idlest = totals.indexOf(Math.min(...totals));
  const gap = totals[busiest]! - totals[idlest]!;
  if (gap < totals[busiest]! * gapShareMin || gap === 0) return undefined;
  // Moving f frames leaves a gap of |gap - 2f|; half the gap would close it.
  const gapAfter = (frames: number) => Math.abs(gap - 2 * frames);
  const best = loads
    .filter(({ worker, frames }) => worker === busiest && frames > 0)
    .reduce<TransmitqLoad | undefined>(
      (chosen, load) =>
        chosen === undefined || gapAfter(load.frames) < gapAfter(chosen.frames) ? load : chosen,
      undefined,
    );
  if (best === undefined || gapAfter(best.frames) > gap * (1 - gapShareMin)) return undefined;
  return { port: best.port, queue: best.queue, worker: idlest };
}
