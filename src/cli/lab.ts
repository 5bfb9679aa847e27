/**
 * `tsvswitch lab`: a network of machines from a file, with the commands and habits of docker
 * compose.
 *
 * This file has the commands and their options; class Lab does the work. Options end at the
 * machine's name in `ssh` and `exec`, so that what follows is the machine's. A command loads what
 * it needs and no more: `status` is asked often and answers at once.
 *
 * `ssh` and `exec` end with the status of what they ran; everything else as main.ts says.
 */

import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { ChangeOptions, Lab, MachineDefinition } from '../lab/lab.ts';
import type { LabStage } from '../lab/report.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import { newCommand, wholeNumber } from './command.ts';

const defaultFile = 'lab.yaml';
const schemaFile = fileURLToPath(new URL('../../lab.schema.json', import.meta.url));

const examples = `
A lab file can be as short as

  machines: { vm1: {}, vm2: {} }

Every command takes -f, before or behind its own name.`;

export function define(): Command {
  const lab = newCommand('tsvswitch lab')
    .description('A network of virtual machines, declared in a file.')
    .option('-f, --file <path>', `the lab file (default: ${defaultFile})`)
    .enablePositionalOptions()
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${argumentsOf(command)}` })
    .addHelpText('after', examples)
    .hook('preAction', () => {
      // What was asked for is done also if nobody reads to the end what is said about it.
      process.stdout.on('error', () => {});
    });
  addLabCommands(lab);
  addMachineCommands(lab);
  addNetworkCommands(lab);
  return lab;
}

function subcommand(lab: Command, usage: string, summary: string, file = '-f, --file <path>') {
  return lab.command(usage).description(summary).option(file, 'the lab file');
}

function argumentsOf(command: Command): string {
  return command.usage().replace('[options]', '').trim();
}

/** The lab of the file that was named closest to the subcommand. */
async function openLab(command: Command): Promise<Lab> {
  const file = command.opts().file ?? command.parent!.opts().file ?? defaultFile;
  const { Lab } = await import('../lab/lab.ts');
  return Lab.open(file);
}

function addLabCommands(lab: Command): void {
  subcommand(lab, 'up', 'make what runs what the lab file says, and wait until it is ready').action(
    (_options, command: Command) => change(command, 'ready', (lab, options) => lab.up(options)),
  );

  subcommand(lab, 'down', 'shut the machines down, then the switch')
    .option('--destroy', 'also remove their disks, keys and logs')
    .action(({ destroy = false }: { destroy?: boolean }, command: Command) =>
      change(command, 'stop', (lab, options) => lab.down({ ...options, destroy })),
    );

  subcommand(lab, 'status', 'what runs, with which addresses, and what does not')
    .option('--json', 'all there is to know, as one JSON object')
    .action(async ({ json }: { json?: boolean }, command: Command) => {
      const status = await (await openLab(command)).status();
      const { statusText } = await import('./words/lab-report.ts');
      print(json ? JSON.stringify(status, undefined, 2) : statusText(status));
    });

  lab
    .command('schema')
    .description('the path of the JSON schema of lab files, for editors')
    .action(() => print(schemaFile));
}

function addMachineCommands(lab: Command): void {
  const machineCommand = (name: string, summary: string, file?: string) =>
    subcommand(lab, name, summary, file).argument('<machine>');

  machineCommand('ssh', 'a shell in a machine, or a command line for its shell')
    .argument('[command...]')
    .passThroughOptions()
    .action(async (name: string, words: string[], _options, command: Command) => {
      const machine = (await openLab(command)).machine(name);
      const { shell } = await import('./lab/remote.ts');
      process.exitCode = await shell(machine, withoutSeparator(words));
    });

  machineCommand('exec', 'run a program in a machine; its arguments arrive as they are')
    .argument('<command...>')
    .passThroughOptions()
    .action(async (name: string, words: string[], _options, command: Command) => {
      const machine = (await openLab(command)).machine(name);
      const { execute } = await import('./lab/remote.ts');
      process.exitCode = await execute(machine, withoutSeparator(words));
    });

  machineCommand('console', 'the serial console of a machine; Ctrl-] leaves it').action(
    async (name: string, _options, command: Command) => {
      const machine = (await openLab(command)).machine(name);
      const { attachConsole } = await import('./lab/console.ts');
      await attachConsole(name, machine.consoleSocket);
    },
  );

  // As with docker compose, -f behind it is for following.
  machineCommand('logs', 'what a machine printed on its console', '--file <path>')
    .option('-f, --follow', 'go on with what it prints from now on')
    .option('--qemu', 'what QEMU said instead')
    .action(
      async (name: string, options: { follow?: boolean; qemu?: boolean }, command: Command) => {
        const machine = (await openLab(command)).machine(name);
        const { printLog } = await import('./lab/logs.ts');
        const path = options.qemu ? machine.qemuLog : machine.consoleLog;
        await printLog(name, path, options.follow ?? false);
      },
    );

  machineCommand('restart', 'shut a machine down and start it again, with the disk it has').action(
    (name: string, _options, command: Command) =>
      change(command, 'ready', (lab, options) => lab.restart(name, options), [name]),
  );

  machineCommand('add', 'add a machine that the lab file does not declare, and start it')
    .option(
      '--set <key=value>',
      'as in the lab file, such as memory=512M; repeat it',
      (setting: string, settings: readonly string[]) => [...settings, setting],
      [],
    )
    .action(async (name: string, { set }: { set: readonly string[] }, command: Command) => {
      const definition = await definitionOf(set);
      await change(command, 'ready', (lab, options) => lab.add(name, definition, options), [name]);
    });

  machineCommand('remove', 'end a machine and remove its disk').action(
    (name: string, _options, command: Command) =>
      change(command, 'stop', (lab, options) => lab.remove(name, options), [name]),
  );
}

function addNetworkCommands(lab: Command): void {
  subcommand(lab, 'ping', 'every machine to every other one, as a matrix').action(
    async (_options, command: Command) => {
      const lab = await openLab(command);
      const matrix = await lab.ping();
      if (matrix.pings.length === 0) {
        throw failure('lab-nothing-to-ping');
      }
      const { pingText } = await import('./words/lab-report.ts');
      print(pingText(matrix));
      const lost = matrix.pings.filter(({ roundTripMs }) => roundTripMs === undefined);
      if (lost.length > 0) {
        const { control } = (await lab.status()).switch;
        throw failure('lab-pings-lost', { lost: lost.length, pings: matrix.pings.length, control });
      }
    },
  );

  subcommand(lab, 'iperf', 'how much TCP data one machine gets to another')
    .argument('<from>')
    .argument('<to>')
    .option('--seconds <n>', 'for how long', wholeNumber, 5)
    .action(
      async (from: string, to: string, { seconds }: { seconds: number }, command: Command) => {
        const result = await (await openLab(command)).iperf(from, to, { seconds });
        const { iperfText } = await import('./words/lab-report.ts');
        print(iperfText(result));
      },
    );
}

/** Runs what changes a lab and shows it; of all its machines unless `machines` says of which. */
async function change(
  command: Command,
  lastStage: LabStage,
  operation: (lab: Lab, options: Required<ChangeOptions>) => Promise<void>,
  machines?: readonly string[],
): Promise<void> {
  const lab = await openLab(command);
  const { showChange } = await import('./words/lab-progress.ts');
  await showChange({
    machines: machines ?? lab.plan.machines.map(({ name }) => name),
    lastStage,
    operation: (options) => operation(lab, options),
  });
}

/**
 * `key=value` as in the lab file, where values are YAML: `--set cpus=2 --set
 * addresses=[10.0.0.9/24]`.
 */
async function definitionOf(settings: readonly string[]): Promise<MachineDefinition> {
  const { settingOfText } = await import('../lab/file/lab-file.ts');
  return Object.fromEntries(
    settings.map((setting) => {
      const [, key, value] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
      if (key === undefined || value === undefined) {
        throw failure('set-no-pair', { setting });
      }
      try {
        return [key, settingOfText(key, value)];
      } catch (cause) {
        if (cause instanceof TsvswitchError) throw cause;
        throw failure(
          'set-no-yaml',
          { setting },
          {
            cause,
          },
        );
      }
    }),
  );
}

/** What follows the machine's name, without the `--` that may separate them. */
function withoutSeparator(words: readonly string[]): readonly string[] {
  return words[0] === '--' ? words.slice(1) : words;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
