/** `tsvswitch check`: what is wrong with the file of a switch; nothing is started. */

import { newCommand } from './command.ts';

export async function run(args: readonly string[]): Promise<void> {
  const command = newCommand('tsvswitch check')
    .description('Checks the file of a switch, and starts nothing.')
    .argument(
      '[file]',
      'the file (default: $TSVSWITCH_CONFIG, else the one of this user or of the system)',
    )
    .option('--json', 'print the complete settings, for programs', false)
    .parse(args, { from: 'user' });
  const { defaultConfigPath, readConfig } = await import('../operate/config-file.ts');
  const path = command.args[0] ?? defaultConfigPath();
  const { service, settings } = await readConfig(path);
  if (command.opts<{ json: boolean }>().json) {
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
