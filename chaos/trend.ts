/** Whether something that was measured time after time grows: a line through the samples. Pure. */

export interface Trend {
  readonly mean: number;
  /** By how much the line rises from the first sample to the last, and how sure that is. */
  readonly rise: number;
  readonly standardError: number;
}

/** Least squares over evenly spaced samples, of which there are three or more. */
export function trendOf(samples: readonly number[]): Trend {
  const count = samples.length;
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / count;
  const middle = (count - 1) / 2;
  const spread = samples.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  const slope = samples.reduce((sum, y, i) => sum + (i - middle) * (y - mean), 0) / spread;
  const squares = samples.reduce((sum, y, i) => sum + (y - mean - slope * (i - middle)) ** 2, 0);
  const slopeError = Math.sqrt(squares / (count - 2) / spread);
  return { mean, rise: slope * (count - 1), standardError: slopeError * (count - 1) };
}

/** Whether it rises by more than `allowed`, beyond what chance would do one time in forty. */
export function grows({ rise, standardError }: Trend, allowed: number): boolean {
  return rise - 2 * standardError > allowed;
}
