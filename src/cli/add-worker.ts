/** `tsvswitch add-worker`: one more polling thread for a switch that runs. */

import { newCommand, wholeNumber } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly cpu?: number;
}

export async function run(args: readonly string[]): Promise<void> {
  const command = addWhich(
    newCommand('tsvswitch add-worker')
      .description(
        'Gives a running switch one more worker, which takes over its share of the queues.',
      )
      .option('--cpu <n>', 'pin it to this CPU', wholeNumber),
  ).parse(args, { from: 'user' });
  const { cpu: wanted, ...which } = command.opts<Options>();
  await using client = await controlClient(which, 'tsvswitch add-worker');
  const { number, cpu } = await client.addWorker(wanted === undefined ? {} : { cpu: wanted });
  process.stdout.write(`worker ${number} runs${cpu === undefined ? '' : ` on CPU ${cpu}`}\n`);
}
