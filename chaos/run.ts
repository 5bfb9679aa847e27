/**
 * One run of chaos: a network is brought up, a series of events happens to it, and it is held to
 * what has to be true at the end. Every run begins with a network of its own, so that what one
 * event has done is not there in the next run.
 */

import { type ChaosEvent, describe } from './event.ts';
import { ChaosNetwork, type Tally } from './network.ts';

export type Outcome =
  | { readonly kind: 'held'; readonly events: number; readonly tally: Tally }
  | {
      readonly kind: 'violated';
      readonly error: Error;
      /** Those that had begun. */
      readonly events: readonly ChaosEvent[];
    };

export interface RunOptions {
  readonly withMachine: boolean;
  readonly ownGrowthMiBMax?: number | undefined;
  /** Called before each event, with one line about it. */
  readonly say?: (line: string) => void;
}

export async function run(events: Iterable<ChaosEvent>, options: RunOptions): Promise<Outcome> {
  const begun: ChaosEvent[] = [];
  let network: ChaosNetwork | undefined;
  try {
    network = await ChaosNetwork.open(options.withMachine, options.ownGrowthMiBMax);
    for (const event of events) {
      options.say?.(describe(event));
      begun.push(event);
      await network.perform(event);
    }
    return { kind: 'held', events: begun.length, tally: await network.finish() };
  } catch (error) {
    return { kind: 'violated', error: error as Error, events: begun };
  } finally {
    await network?.close();
  }
}
