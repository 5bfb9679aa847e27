/** `tsvswitch run`: a switch as its file says, which SIGHUP and `tsvswitch reload` read again. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Service } from '../operate/service/service.ts';
import type { TakeOver } from '../operate/upgrade/take-over.ts';
import { newCommand } from './command.ts';
import { asSuccessor } from './upgrades.ts';

interface Given {
  readonly config?: string;
  readonly control?: string;
  readonly state?: string;
}

export function define(): Command {
  return newCommand('tsvswitch run')
    .description('Runs the switch that a file declares.')
    .option(
      '--config <file>',
      'the file (default: $TSVSWITCH_CONFIG, else the one of this user or of the system)',
    )
    .option('--control <path>', 'take requests here, whatever the file says')
    .option('--state <folder>', 'keep what was changed and learned here')
    .action((given: Given) => asSuccessor((takeOver) => runDeclared(given, takeOver)));
}

async function runDeclared(
  { config, control, state: folder }: Given,
  takeOver: TakeOver | undefined,
): Promise<void> {
  const service = Service.begin(process.env, process.pid, takeOver?.manager);
  const { defaultConfigPath, stateFolderOf } = await import('../operate/config-file.ts');
  const { givenStateFolder } = await import('../operate/state/state-folder.ts');
  const { Declared } = await import('../operate/declared.ts');
  const file = config ?? defaultConfigPath();
  const state = folder === undefined ? givenStateFolder(process.env) : resolve(folder);
  const stateFolder = state ?? stateFolderOf(file);
  const declared = await Declared.read(file, {
    overrides: control === undefined ? {} : { control },
    stateFolder,
  });
  const { workers, cpus, idleUs, balance, ageingSeconds } = declared.settings;
  const { runSwitch } = await import('./switch-process.ts');
  await runSwitch(
    {
      service: declared.service,
      options: { workers, cpus, idleUs, balance, ageingSeconds },
      open: (vswitch) => declared.open(vswitch),
      portSockets: { mode: 0o660 },
      stateFolder,
      state,
      declared,
    },
    service,
    takeOver,
  );
}
