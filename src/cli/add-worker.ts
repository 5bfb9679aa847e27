/** `tsvswitch add-worker`: one more polling thread for a switch that runs. */

import type { Command } from 'commander';
import { newCommand, wholeNumber } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly cpu?: number;
}

export function define(): Command {
  return addWhich(
    newCommand('tsvswitch add-worker')
      .description(
        'Gives a running switch one more worker, which takes over its share of the queues.',
      )
      .option('--cpu <n>', 'pin it to this CPU', wholeNumber),
  ).action(run);
}

async function run({ cpu: wanted, ...which }: Options): Promise<void> {
  await using client = await controlClient(which, 'tsvswitch add-worker');
  const { number, cpu } = await client.addWorker(wanted === undefined ? {} : { cpu: wanted });
  process.stdout.write(`worker ${number} runs${cpu === undefined ? '' : ` on CPU ${cpu}`}\n`);
}
