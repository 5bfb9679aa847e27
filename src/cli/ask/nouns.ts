/** What the commands have in common that are called after what they change: ports, bridges, ... */

import type { Command } from 'commander';
import type { SwitchSettings } from '../../index.ts';
import { asking, printJson } from './asking.ts';
import { showNamed } from './show.ts';
import type { ViewName } from './views.ts';

export const mayExist = 'is there already: leave it as it is, and succeed';
export const ifExists = 'is not there: succeed all the same';

/** A command with others in it, which shows all there are when none is named. */
export function noun(
  program: Command,
  name: string,
  description: string,
  view: ViewName | ((command: Command) => Promise<void>),
): Command {
  const show = (_: object, command: Command) =>
    typeof view === 'string' ? showNamed(view, command) : view(command);
  const command = program
    .command(name)
    .description(description)
    .allowExcessArguments()
    .action((options: object, itself: Command) => {
      if (itself.args.length === 0) return show(options, itself);
      // Of commander's, with its suggestion; only its types lack it.
      return (itself as Command & { unknownCommand(): never }).unknownCommand();
    });
  command.command('show').description('show all; so does the bare word').action(show);
  return command;
}

/** Changes the settings that are in force. */
export function edit(command: Command, changed: (settings: SwitchSettings) => void): Promise<void> {
  return asking(command, async (client) => {
    printJson(command, await client.edit(changed));
  });
}
