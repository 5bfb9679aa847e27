/** `tsvswitch add-worker`: one more polling thread for a switch that runs. */

import { ControlClient } from '../control/client.ts';
import { newCommand, wholeNumber } from './command.ts';
import { controlDescription, controlPath } from './control-path.ts';

interface Options {
  readonly cpu?: number;
  readonly control?: string;
}

export async function run(args: readonly string[]): Promise<void> {
  const command = newCommand('tsvswitch add-worker')
    .description(
      'Gives a running switch one more worker, which takes over its share of the queues.',
    )
    .option('--cpu <n>', 'pin it to this CPU', wholeNumber)
    .option('--control <path>', controlDescription)
    .parse(args, { from: 'user' });
  const { control, ...worker } = command.opts<Options>();
  await using client = await ControlClient.connect(
    await controlPath(control, 'tsvswitch add-worker'),
  );
  const { number, cpu } = await client.addWorker(worker);
  process.stdout.write(`worker ${number} runs${cpu === undefined ? '' : ` on CPU ${cpu}`}\n`);
}
