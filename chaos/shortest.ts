/**
 * Cuts a series that makes something fail down to a short one that still does: first to its end,
 * since what broke it is likely to have happened last, then by leaving out ever smaller parts.
 *
 * Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002 (ddmin).
 */

/**
 * A part of `series`, in its order, for which `fails` is true; `series` itself if none was found in
 * `triesMax` tries. What fails by chance only may be taken for what does not.
 */
export async function shortest<Item>(
  series: readonly Item[],
  fails: (part: readonly Item[]) => Promise<boolean>,
  triesMax: number,
): Promise<readonly Item[]> {
  let tries = 0;
  const stillFails = async (part: readonly Item[]) => tries++ < triesMax && (await fails(part));
  let failing = series;
  for (let length = 1; length < series.length && tries < triesMax; length *= 2) {
    const end = series.slice(-length);
    if (await stillFails(end)) {
      failing = end;
      break;
    }
  }
  let parts = 2;
  while (failing.length > 1 && tries < triesMax) {
    const partLength = Math.ceil(failing.length / parts);
    const shorter = await firstOf(withoutEachPart(failing, partLength), stillFails);
    if (shorter !== undefined) {
      failing = shorter;
      parts = Math.max(2, parts - 1);
    } else if (partLength === 1) break;
    else parts = Math.min(failing.length, 2 * parts);
  }
  return failing;
}

function withoutEachPart<Item>(series: readonly Item[], partLength: number): (readonly Item[])[] {
  const parts = Math.ceil(series.length / partLength);
  return Array.from({ length: parts }, (_, i) => [
    ...series.slice(0, i * partLength),
    ...series.slice((i + 1) * partLength),
  ]);
}

async function firstOf<Item>(
  candidates: readonly Item[],
  holds: (candidate: Item) => Promise<boolean>,
): Promise<Item | undefined> {
  for (const candidate of candidates) if (await holds(candidate)) return candidate;
  return undefined;
}
