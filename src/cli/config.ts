/** `tsvswitch config`: the file of a switch, and what was changed over it at run time. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { ControlClient } from '../control/client.ts';
import { difference } from '../model/difference.ts';
import { failure } from '../model/errors.ts';
import { newCommand } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';
import { planLines } from './words/plan-text.ts';

const schemaFile = fileURLToPath(new URL('../../tsvswitch.schema.json', import.meta.url));

interface Options extends Which {
  readonly saved: boolean;
  readonly json: boolean;
  readonly print: boolean;
}

/** A subcommand that asks a running switch. */
function asking(
  command: Command,
  [name, description]: readonly [string, string],
  act: (client: ControlClient, options: Options) => Promise<void>,
): Command {
  return addWhich(command.command(name).description(description)).action(
    async (options: Options) => {
      await using client = await controlClient(options, `tsvswitch config ${name}`);
      await act(client, options);
    },
  );
}

export function define(): Command {
  const command = newCommand('tsvswitch config').description('Helps with the file of a switch.');
  command
    .command('init')
    .description('print a file to start from')
    .action(async () => {
      const { startingFile } = await import('../operate/starting-file.ts');
      process.stdout.write(startingFile(schemaFile));
    });
  command
    .command('schema')
    .description('print the path of the JSON schema of such files, for editors')
    .action(() => void process.stdout.write(`${schemaFile}\n`));
  asking(command, ['show', 'print the settings that are in force, complete'], show)
    .option('--saved', 'those of the file, without what was changed at run time', false)
    .option('--json', 'as JSON, for programs', false);
  asking(command, ['diff', 'print what was changed at run time, over the file'], diff);
  asking(command, ['save', 'write what was changed at run time into the file'], save).option(
    '--print',
    'print the file in place of writing it',
    false,
  );
  return command;
}

async function show(client: ControlClient, { saved, json }: Options): Promise<void> {
  const settings = saved ? (await client.config()).settings : await client.settings();
  if (json) {
    process.stdout.write(`${JSON.stringify(settings, undefined, 2)}\n`);
    return;
  }
  const { stringify } = await import('yaml');
  process.stdout.write(stringify(settings, { lineWidth: 0 }));
}

async function diff(client: ControlClient): Promise<void> {
  const { settings } = await client.config();
  for (const line of planLines(difference(settings, await client.settings()))) {
    process.stdout.write(`${line}\n`);
  }
}

async function save(client: ControlClient, { print }: Options): Promise<void> {
  const { file, settings } = await client.config();
  if (client.isRemote) throw failure('config-elsewhere', { file });
  const { configOfText, readConfig } = await import('../operate/config-file.ts');
  const { savedText, writeConfig } = await import('../operate/save-config.ts');
  // Says what is wrong with a file that cannot be read.
  await readConfig(file);
  const text = readFileSync(file, 'utf8');
  if (!isDeepStrictEqual(configOfText(text, file).settings, settings)) {
    throw failure('config-changed', { file });
  }
  const saved = savedText(text, file, await client.settings());
  if (print) {
    process.stdout.write(saved);
    return;
  }
  if (saved === text) return;
  writeConfig(file, saved);
  await client.reload();
}
