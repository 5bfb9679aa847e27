/**
 * How every command line of this program is read: wrong usage is said in one sentence, in the form
 * of all other errors, with the command whose --help has the answer, and ends it.
 */

import { Command, type ErrorOptions, InvalidArgumentError } from 'commander';
import { isJournal } from '../operate/service/started-by.ts';
import { withPriority } from './words/journal-line.ts';

export const exitFailure = 1;
export const exitUsage = 2;
/** No switch answers. */
export const exitNoSwitch = 3;
/** As timeout(1) ends. */
export const exitTimeout = 124;

/** What every error of the command begins with. */
export const errorPrefix = 'tsvswitch: ';

/** To standard error, and as an error where that is the journal. */
export function writeError(text: string): void {
  const { stderr } = process;
  stderr.write(isJournal(stderr.fd, process.env) ? withPriority('error', text) : text);
}

class CommandLine extends Command {
  /** Subcommands do the same. */
  override createCommand(name?: string): Command {
    return new CommandLine(name);
  }

  override error(message: string, options?: ErrorOptions): never {
    this.showHelpAfterError(`(${fullName(this)} --help lists the options)`);
    // A suggestion is a line of its own there.
    const sentence = message.replace(/^error: /, '').replaceAll('\n', ' ');
    const hint = options?.code === 'commander.excessArguments' ? surplusHint(this) : '';
    return super.error(`${errorPrefix}${sentence}${hint}`, options);
  }
}

/** `name` is what people type, such as `tsvswitch lab`. */
export function newCommand(name: string): Command {
  return new CommandLine(name)
    .configureOutput({ writeErr: writeError })
    .exitOverride((end) => process.exit(end.exitCode === 0 ? 0 : exitUsage));
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

/** A file that is named without the option in front of it. */
function surplusHint(command: Command): string {
  const surplus = command.args.at(-1) ?? '';
  const takesFile = command.options.some(({ long }) => long === '--file');
  return takesFile && /[./]/.test(surplus) ? ` Name a lab file with -f ${surplus}.` : '';
}
