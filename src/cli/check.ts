/** `tsvswitch check`: what is wrong with the file of a switch; nothing is started. */

import type { Command } from 'commander';
import { newCommand } from './command.ts';

export function define(): Command {
  return newCommand('tsvswitch check')
    .description('Checks the file of a switch, and starts nothing.')
    .argument(
      '[file]',
      'the file (default: $TSVSWITCH_CONFIG, else the one of this user or of the system)',
    )
    .option('--json', 'print the complete settings, for programs', false)
    .action(run);
}

async function run(file: string | undefined, { json }: { json: boolean }): Promise<void> {
  const { defaultConfigPath, readConfig } = await import('../operate/config-file.ts');
  const path = file ?? defaultConfigPath();
  const { service, settings } = await readConfig(path);
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...service, ...settings }, undefined, 2)}\n`);
    return;
  }
  const ports = counted(Object.keys(settings.ports).length, 'port');
  const bridges = counted(Object.keys(settings.bridges).length, 'bridge');
  process.stdout.write(`${path}: a switch with ${ports} and ${bridges}\n`);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
