/** `tsvswitch upgrade`: has the version that is installed take over a switch while it runs. */

import type { Command } from 'commander';
import { newCommand } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly json: boolean;
}

export function define(): Command {
  const command = newCommand('tsvswitch upgrade')
    .description(
      'Has the version that is installed take over a running switch. Machines stay connected.',
    )
    .option('--json', 'print what was done for programs', false);
  return addWhich(command).action(run);
}

async function run({ json, ...which }: Options): Promise<void> {
  await using client = await controlClient(which, 'tsvswitch upgrade');
  const done = await client.upgrade();
  const { from, version, pid, sessions, pauseMs } = done;
  const stayed = sessions === 1 ? '1 machine stayed' : `${sessions} machines stayed`;
  process.stdout.write(
    json
      ? `${JSON.stringify(done)}\n`
      : `${from} is ${version} now, process ${pid}; ${stayed} connected, without frames for at ` +
          `most ${pauseMs} ms\n`,
  );
}
