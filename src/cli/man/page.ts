/**
 * The manual page tsvswitch(1), made of the commands themselves.
 *
 * Sources: man-pages(7) for its sections, man(7) for its macros.
 */

import { version } from '../../runtime/version.ts';
import { allCommands, type CommandWords } from '../command-tree.ts';

/** As main.ts ends. */
const statuses: Readonly<Record<string, string>> = {
  '0': 'All is well.',
  '1': 'What was asked for cannot be done.',
  '2': 'The command line, or the file of a switch, is wrong.',
  '3': 'No switch answers.',
  '124': '--timeout ran out.',
};

const variables: Readonly<Record<string, string>> = {
  TSVSWITCH_CONTROL: 'The control socket, or the URL, of the switch that is asked.',
  TSVSWITCH_TOKEN_FILE: 'The token, where that is a URL.',
  TSVSWITCH_CA: 'Who signed the certificate of the switch, where that is a URL.',
  TSVSWITCH_CONFIG: 'The file of a switch.',
};

const files: Readonly<Record<string, string>> = {
  '/etc/tsvswitch/tsvswitch.yaml': 'The file of a switch.',
  '/run/tsvswitch/control.sock': 'The control socket of a switch that root or the system runs.',
  '/var/lib/tsvswitch': 'What was changed and learned while it ran.',
};

/** `date` is that of the release, as 2026-12-31. */
export function manPage(tree: CommandWords, date: string): string {
  const [itself, ...commands] = allCommands(tree);
  return [
    `.TH TSVSWITCH 1 "${date}" "tsvswitch ${version}"`,
    '.SH NAME',
    'tsvswitch \\- Ethernet switch for virtual machines',
    '.SH SYNOPSIS',
    '.B tsvswitch\n.B \\-\\-socket\n.I path\n\\&...\n[\n.I option\n\\&...\n]\n.br',
    '.B tsvswitch\n.I command\n[\n.I argument\n\\&...\n]',
    '.SH DESCRIPTION',
    text(itself!.summary),
    '.SH OPTIONS',
    ...optionsOf(itself!),
    '.SH COMMANDS',
    ...commands.filter(({ commands: within }) => within.length === 0).flatMap(sectionOf),
    '.SH EXIT STATUS',
    ...listOf(statuses),
    '.SH ENVIRONMENT',
    ...listOf(variables),
    '.SH FILES',
    ...listOf(files),
    '.SH SEE ALSO',
    '.BR systemctl (1),\n.BR tcpdump (8)',
    '',
  ].join('\n');
}

function sectionOf(command: CommandWords): string[] {
  const words = [...command.path, ...command.arguments.map(({ usage }) => usage)].join(' ');
  return [`.SS ${heading(words)}`, text(command.summary), ...optionsOf(command)];
}

function optionsOf({ options }: CommandWords): string[] {
  return options.flatMap(({ flags, summary }) => [`.TP\n.B ${heading(flags)}`, text(summary)]);
}

function listOf(entries: Readonly<Record<string, string>>): string[] {
  return Object.entries(entries).flatMap(([name, means]) => [
    `.TP\n.B ${heading(name)}`,
    text(means),
  ]);
}

/** In lines of a terminal's width, none of which is a request; hyphens stay what they are. */
function text(words: string): string {
  const plain = words.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  const lines = plain.match(/\S.{0,76}(?!\S)|\S+/g) ?? [];
  return lines.map((line) => line.trimEnd().replace(/^(?=['.])/, '\\&')).join('\n');
}

/** The same behind a request, which ends with its line. */
function heading(words: string): string {
  return words.replaceAll('\\', '\\e').replaceAll('-', '\\-');
}
