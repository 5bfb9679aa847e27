/** The commands, their options and arguments, as plain data read off the commands themselves. */

import type { Argument, Command, Option } from 'commander';
import { subcommands, summaries } from './subcommands.ts';

/** What a value can be: one of these words, the name of something, or of a file. */
export type Value = readonly string[] | 'ports' | 'bridges' | 'machines' | 'files' | 'anything';

export interface OptionWords {
  /** Such as -s and --switch. */
  readonly names: readonly string[];
  /** The same with the value behind them, as people read it. */
  readonly flags: string;
  readonly summary: string;
  /** Undefined if none follows. */
  readonly value?: Value;
}

export interface ArgumentWords {
  /** As people read it, such as [port]. */
  readonly usage: string;
  readonly value: Value;
  readonly isMany: boolean;
}

export interface CommandWords {
  /** What is typed behind `tsvswitch`; none for the command itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly options: readonly OptionWords[];
  readonly arguments: readonly ArgumentWords[];
  readonly commands: readonly CommandWords[];
}

/** What the placeholders of arguments and options stand for. */
const values: Readonly<Record<string, Value>> = {
  port: 'ports',
  bridge: 'bridges',
  machine: 'machines',
  from: 'machines',
  to: 'machines',
  file: 'files',
  path: 'files',
  folder: 'files',
};

const help: OptionWords = { names: ['--help'], flags: '--help', summary: 'tell more' };

/** Loads the commands, and nothing that they need to run. */
export async function commandTree(): Promise<CommandWords> {
  const { define } = await import('./switch-options.ts');
  const commands = await Promise.all(
    Object.entries(subcommands).map(async ([name, { summary, load, isAmong }]) => {
      const loaded = (await load()).define();
      const command = isAmong ? loaded.commands.find((one) => one.name() === name)! : loaded;
      const inherited = isAmong ? loaded.options : [];
      return { ...wordsOf(command, [name], inherited), summary };
    }),
  );
  return { ...wordsOf(define(summaries), [], []), commands };
}

/** All of them, each before those in it. */
export function allCommands(tree: CommandWords): CommandWords[] {
  return [tree, ...tree.commands.flatMap(allCommands)];
}

function wordsOf(
  command: Command,
  path: readonly string[],
  inherited: readonly Option[],
): CommandWords {
  const options = [...command.options, ...inherited].filter(({ hidden }) => !hidden);
  return {
    path,
    summary: command.summary() || command.description(),
    options: [...options.map(optionWords), help],
    arguments: command.registeredArguments.map(argumentWords),
    commands: command.commands.map((one) => wordsOf(one, [...path, one.name()], options)),
  };
}

function optionWords({ short, long, flags, description, argChoices }: Option): OptionWords {
  const placeholder = /[<[]([\w-]+)/.exec(flags)?.[1];
  return {
    names: [short, long].filter((name) => name !== undefined),
    flags,
    summary: description,
    ...(placeholder !== undefined && { value: argChoices ?? valueFor(placeholder) }),
  };
}

function argumentWords(argument: Argument): ArgumentWords {
  const word = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return {
    usage: argument.required ? `<${word}>` : `[${word}]`,
    value: argument.argChoices ?? valueFor(argument.name()),
    isMany: argument.variadic,
  };
}

function valueFor(placeholder: string): Value {
  return values[placeholder] ?? 'anything';
}
