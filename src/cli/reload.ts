/** `tsvswitch reload`: has a running switch read its file again. */

import type { Command } from 'commander';
import type { ControlClient } from '../control/client.ts';
import { TsvswitchError } from '../model/errors.ts';
import { newCommand } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';
import { planLines, restartText } from './words/plan-text.ts';

interface Options extends Which {
  readonly dryRun: boolean;
  readonly discard: boolean;
  readonly json: boolean;
}

export function define(): Command {
  return addWhich(
    newCommand('tsvswitch reload')
      .description('Has a running switch read its file again, and prints what was changed.')
      .option('-n, --dry-run', 'only print what would be changed', false)
      .option('--discard', 'undo what was changed at run time', false)
      .option('--json', 'print the changes for programs', false),
  ).action(run);
}

async function run({ dryRun, discard, json, ...which }: Options): Promise<void> {
  await using client = await controlClient(which, 'tsvswitch reload');
  const done = await reload(client, { dryRun, discard });
  if (json) {
    process.stdout.write(`${JSON.stringify(done)}\n`);
    return;
  }
  for (const line of planLines(done.changes)) process.stdout.write(`${line}\n`);
  if (done.restart.length > 0) process.stderr.write(`tsvswitch: ${restartText(done.restart)}\n`);
}

async function reload(client: ControlClient, options: { dryRun: boolean; discard: boolean }) {
  try {
    return await client.reload(options);
  } catch (error) {
    if (!(error instanceof TsvswitchError) || error.code !== 'CONFIG_INVALID') throw error;
    if (client.isRemote) throw error;
    // Whoever may read the file is told each mistake in a line of its own.
    const { readConfig } = await import('../operate/config-file.ts');
    const { file } = await client.config();
    await readConfig(file).catch((own: unknown) => {
      if (own instanceof TsvswitchError && own.code === 'CONFIG_INVALID') throw own;
    });
    throw error;
  }
}
