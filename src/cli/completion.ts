/**
 * `tsvswitch completion`: what a shell needs to complete our commands, and the names that it asks
 * for then.
 */

import type { Command } from 'commander';
import { whichNamed } from './ask/asking.ts';
import { newCommand } from './command.ts';
import { type Shell, shells } from './completion/scripts.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly switch?: string;
  readonly file: string;
}

const ways: Readonly<Record<Shell, string>> = {
  bash: 'source <(tsvswitch completion bash)',
  zsh: 'source <(tsvswitch completion zsh)',
  fish: 'tsvswitch completion fish | source',
};

export function define(): Command {
  const completion = newCommand('tsvswitch completion').description(
    'Prints what a shell needs to complete these commands.',
  );
  for (const shell of shells) {
    completion
      .command(shell)
      .description(`for ${ways[shell]}`)
      .action(() => print(shell));
  }
  addWhich(
    completion
      .command('names')
      .description('the names of all ports, bridges or machines, one a line')
      .argument('<kind>', 'ports, bridges or machines')
      .option('-s, --switch <name>', 'of the switch with this name')
      .option('-f, --file <path>', 'of this lab', 'lab.yaml'),
  ).action(printNames);
  return completion;
}

async function print(shell: Shell): Promise<void> {
  const { commandTree } = await import('./command-tree.ts');
  const { script } = await import('./completion/scripts.ts');
  process.stdout.write(script(shell, await commandTree()));
}

async function printNames(kind: string, options: Options): Promise<void> {
  const names = kind === 'machines' ? await machines(options.file) : await ofSwitch(kind, options);
  process.stdout.write(names.map((name) => `${name}\n`).join(''));
}

async function machines(file: string): Promise<string[]> {
  const { Lab } = await import('../lab/lab.ts');
  return (await Lab.open(file)).plan.machines.map(({ name }) => name);
}

async function ofSwitch(kind: string, { switch: name, ...which }: Options): Promise<string[]> {
  await using client = await controlClient(whichNamed(which, name), 'tsvswitch completion names');
  const { ports, bridges } = await client.settings();
  return Object.keys(kind === 'bridges' ? bridges : ports);
}
