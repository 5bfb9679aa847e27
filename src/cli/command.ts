/** How every command line of this program is read: wrong usage is said in one sentence and ends it. */

import { Command, InvalidArgumentError } from 'commander';

export const exitFailure = 1;
export const exitUsage = 2;

/** Subcommands added to it do the same. `name` is what people type, such as `tsvswitch lab`. */
export function newCommand(name: string): Command {
  return new Command(name)
    .showHelpAfterError(`(${name} --help lists the options)`)
    .exitOverride((end) => process.exit(end.exitCode === 0 ? 0 : exitUsage));
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}
