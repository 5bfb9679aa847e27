/**
 * What ports have delivered to each other, by pair of ports, as the workers count it
 * (native/core/port/pair_counters.h).
 */

import type { Dataplane } from '../native/handles.ts';

/** What was delivered from one port to another, since the later of them was added. */
export interface Flow {
  readonly from: string;
  /**
   * Absent: to ports that nothing was meant for but floods, and to those for which there was no
   * place left.
   */
  readonly to?: string;
  readonly frames: number;
  readonly bytes: number;
}

const valuesOfPair = 4;

/** Of all pairs that talk, the busiest first. */
export function flowsOf(
  dataplane: Pick<Dataplane, 'pairCounters'>,
  ports: readonly { readonly name: string; readonly number: number }[],
): Flow[] {
  const names = new Map(ports.map(({ name, number }) => [number, name]));
  const sums = new Map<string, { from: number; to: number; frames: number; bytes: number }>();
  const counts = dataplane.pairCounters();
  // A pair has counters with each worker that has delivered for it.
  for (let at = 0; at < counts.length; at += valuesOfPair) {
    const [from, to, frames, bytes] = Array.from(counts.subarray(at, at + valuesOfPair), Number);
    const key = `${from} ${to}`;
    const sum = sums.get(key) ?? { from: from!, to: to!, frames: 0, bytes: 0 };
    sum.frames += frames!;
    sum.bytes += bytes!;
    sums.set(key, sum);
  }
  return [...sums.values()]
    .flatMap(({ from, to, frames, bytes }): Flow[] => {
      const [source, destination] = [names.get(from), names.get(to)];
      if (source === undefined) return [];
      return [{ from: source, ...(destination && { to: destination }), frames, bytes }];
    })
    .sort((a, b) => b.bytes - a.bytes);
}
