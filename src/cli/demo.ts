/**
 * `tsvswitch demo`: two virtual machines on the switch, shown talking to each other.
 *
 * Boots two tiny guests, pings both ways, moves TCP data both ways, then shows what the bridge
 * learned and what the ports counted. Ends with status 0 only if every ping was answered and data
 * arrived in both directions. Everything it starts and makes is gone when it ends, also after
 * Ctrl-C and after a failure; a failure is shown with the ends of the logs.
 *
 * It changes nothing on the host, except with --hugepages, and then it says what. What it needs of
 * the host it looks for first, and names all that is missing in one sentence; `npm run demo` in a
 * clone installs it.
 */

import { once } from 'node:events';
import { constants as accessModes, accessSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import { Listr, type ListrTask } from 'listr2';
import { probeKvm } from '../machine/kvm.ts';
import { chooseMemory, reserveHugepages } from '../machine/memory.ts';
import type { Accelerator } from '../machine/qemu.ts';
import { umlMemoryFolder } from '../machine/uml.ts';
import { failure } from '../model/errors.ts';
import { engineTypes } from '../tiny/engine.ts';
import { type TinyGuest, tinyGuest } from '../tiny/guest.ts';
import { type Engine, TinyNetwork, tinyMemoryMiB } from '../tiny/network.ts';
import { umlGuest } from '../tiny/uml-guest.ts';
import { newCommand } from './command.ts';

interface DemoOptions {
  readonly keep: boolean;
  readonly hugepages: boolean;
  readonly engine: Engine['type'];
}

/** What earlier tasks leave for later ones. */
interface Prepared {
  guest: TinyGuest;
  accelerator: Accelerator;
  engine: Engine;
}

/** What it runs of the host's: one of each row, and the Debian package that has it. */
const programs = [
  { names: ['busybox'], debianPackage: 'busybox-static' },
  { names: ['iperf3'], debianPackage: 'iperf3' },
];
const enginePrograms = {
  qemu: [
    { names: ['qemu-system-x86_64'], debianPackage: 'qemu-system-x86' },
    // For the kernel: the distribution's own package, unpacked.
    { names: ['apt-get'], debianPackage: 'apt' },
    { names: ['dpkg-deb'], debianPackage: 'dpkg' },
    { names: ['xz'], debianPackage: 'xz-utils' },
  ],
  uml: [{ names: ['linux.uml'], debianPackage: 'user-mode-linux' }],
} as const;

const machineNumbers = [1, 2] as const;
const directions = [
  { from: 1, to: 2 },
  { from: 2, to: 1 },
] as const;

const switchScript = fileURLToPath(new URL('./main.js', import.meta.url));
const pingCount = 5;
const tcpSeconds = 3;
/** What a command in the guest may take beyond its own duration, without KVM on a busy host. */
const commandLimitMs = 30_000;
const logTailLines = 15;
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type EndSignal = (typeof endSignals)[number];

/** Aborted with the first signal that asks the demo to end. */
const interruption = new AbortController();
/** The network, once there is one. */
let network: TinyNetwork | undefined;

function prepareUml(): ListrTask<Prepared>[] {
  return [
    {
      title: 'Guest: the package user-mode-linux of this distribution, busybox and iperf3',
      task: async (prepared, task) => {
        prepared.guest = await umlGuest();
        task.title = guestTitle(prepared.guest);
      },
    },
    {
      title: 'Guest memory',
      task: async (prepared, task) => {
        const { guest } = prepared;
        const memoryFolder = await umlMemoryFolder(machineNumbers.map(() => tinyMemoryMiB));
        prepared.engine = { type: 'uml', guest, memoryFolder };
        task.title = `Guest memory: ${memoryFolder}`;
      },
    },
  ];
}

function prepareQemu(options: DemoOptions): ListrTask<Prepared>[] {
  return [
    {
      title: 'Guest: the kernel package of this distribution, busybox and iperf3',
      task: async (prepared, task) => {
        prepared.guest = await tinyGuest();
        task.title = guestTitle(prepared.guest);
      },
    },
    {
      title: 'Accelerator: does KVM run a guest here?',
      task: async (prepared, task) => {
        const { accelerator, reason } = await probeKvm(prepared.guest.kernel.image);
        prepared.accelerator = accelerator;
        task.title = `Accelerator: ${accelerator} (${reason})`;
      },
    },
    {
      title: 'Guest memory',
      task: async (prepared, task) => {
        const changes = options.hugepages
          ? await reserveHugepages(machineNumbers.map(() => tinyMemoryMiB))
          : [];
        const { memory, reason } = await chooseMemory(machineNumbers.map(() => tinyMemoryMiB));
        const { guest, accelerator } = prepared;
        prepared.engine = { type: 'qemu', guest, accelerator, memory };
        task.title = [`Guest memory: ${reason}`, ...changes].join('; ');
      },
    },
  ];
}

function guestTitle({ kernel, initramfsBytes }: TinyGuest): string {
  return `Guest: ${kernel.name}, initramfs of ${(initramfsBytes / 2 ** 20).toFixed(1)} MiB`;
}

const start: ListrTask<Prepared>[] = [
  {
    title: 'Switch: start with a socket for each machine',
    task: async ({ engine }, task) => {
      interruption.signal.throwIfAborted();
      network = await TinyNetwork.create({ machines: machineNumbers.length, engine });
      const { pid } = await network.startSwitch(switchScript);
      task.title = `Switch: process ${pid} listens on two sockets`;
    },
  },
  {
    title: 'Machines',
    task: (_, task) =>
      task.newListr(
        machineNumbers.map((number) => ({
          title: `vm${number}: boot`,
          task: async (_, bootTask) => {
            const beganMs = performance.now();
            const machine = await network!.boot(number);
            const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
            // For the TCP tasks; it answers from the moment it listens.
            await machine.shell.check('iperf3 --server --daemon', commandLimitMs);
            bootTask.title = `vm${number}: ${network!.address(number)}, booted in ${seconds} s`;
          },
        })),
        { concurrent: true },
      ),
  },
];

const exchange: ListrTask<Prepared>[] = [
  ...directions.map(({ from, to }) => ({
    title: `Ping: vm${from} to vm${to}`,
    task: async (_: Prepared, task: { title: string }) => {
      task.title += `, ${await ping(from, to)}`;
    },
  })),
  ...directions.map(({ from, to }) => ({
    title: `TCP: vm${from} to vm${to}`,
    task: async (_: Prepared, task: { title: string }) => {
      task.title += `, ${await sendTcp(from, to)}`;
    },
  })),
];

/** Every ping has to be answered. */
async function ping(from: number, to: number): Promise<string> {
  const command = `ping -c ${pingCount} -i 0.2 ${network!.address(to)}`;
  const { output } = await machine(from).shell.run(command, commandLimitMs);
  if (!output.includes(`${pingCount} packets transmitted, ${pingCount} packets received`)) {
    throw failure('demo-ping-lost', { from, output });
  }
  const average = /min\/avg\/max = [\d.]+\/([\d.]+)\//.exec(output)?.[1];
  return `${pingCount} of ${pingCount} answered, ${average} ms on average`;
}

/** Some bytes have to arrive. */
async function sendTcp(from: number, to: number): Promise<string> {
  const shell = machine(from).shell;
  const listening = `timeout 10 sh -c 'until netstat -ltn | grep -q :5201; do sleep 0.1; done'`;
  await machine(to).shell.check(listening, commandLimitMs);
  const command = `iperf3 --client ${network!.address(to)} --time ${tcpSeconds} --json`;
  const report = JSON.parse(await shell.check(command, tcpSeconds * 1000 + commandLimitMs));
  const { bytes, bits_per_second: bitsPerSecond } = report.end.sum_received;
  if (!(bytes > 0)) {
    throw failure('demo-tcp-lost', { from, to });
  }
  return `${Math.round(bitsPerSecond / 1e6)} Mbit/s arrived`;
}

function machine(number: number) {
  return network!.machines[number - 1]!;
}

function showConsoles(): void {
  const attach = network!.machines.map(
    ({ name, consoleSocket }) =>
      `${name}: socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:${consoleSocket}`,
  );
  showSection('Consoles (leave one with Ctrl-])', attach);
  console.log('\nEverything keeps running until Ctrl-C.');
}

function showSection(title: string, lines: readonly string[]): void {
  console.log(`\n${title}`);
  for (const line of lines) console.log(`  ${line}`);
}

async function explain(error: Error): Promise<void> {
  console.error(`\ndemo: ${error.message}`);
  if (error.cause instanceof Error) console.error(`  because: ${error.cause.message}`);
  for (const { name, consoleTail } of await tails()) {
    console.error(`\nEnd of the console of ${name}:\n${consoleTail}`);
  }
  if (network?.switch)
    console.error(`\nEnd of the switch's log:\n${network.switch.tail(logTailLines)}`);
}

async function tails(): Promise<{ name: string; consoleTail: string }[]> {
  const machines = network?.machines.filter((machine) => machine !== undefined) ?? [];
  return Promise.all(
    machines.map(async (machine) => ({
      name: machine.name,
      consoleTail: (await machine.consoleTail(logTailLines)) || '(nothing)',
    })),
  );
}

/** Runs the demo and returns the exit status. */
async function demo(options: DemoOptions): Promise<number> {
  for (const signal of endSignals) process.on(signal, () => interruption.abort(signal));
  // What is under way on the network then fails by itself.
  interruption.signal.addEventListener('abort', () => void network?.close());
  const prepare = options.engine === 'uml' ? prepareUml() : prepareQemu(options);
  const tasks = new Listr<Prepared>([...prepare, ...start, ...exchange], {
    registerSignalListeners: false,
    rendererOptions: { collapseSubtasks: false },
  });
  try {
    await tasks.run();
    showSection('Learned by the bridge', network!.switch!.messages('mac-learned'));
    if (options.keep) {
      showConsoles();
      await once(interruption.signal, 'abort');
    }
    // The switch logs its counters when it ends.
    await network!.close();
    showSection('Counters', network!.switch!.messages('counters'));
    return 0;
  } catch (error) {
    if (interruption.signal.aborted) {
      const signal: EndSignal = interruption.signal.reason;
      console.error(`\ndemo: ended by ${signal}`);
      return 128 + constants.signals[signal];
    }
    await explain(error as Error);
    return 1;
  } finally {
    await network?.close();
  }
}

/** Throws PROGRAM_MISSING, with the one command that installs all of it. */
function checkPrograms(engine: Engine['type']): void {
  const missing = [...programs, ...enginePrograms[engine]].filter(
    ({ names }) => !names.some(isInPath),
  );
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((row) => row.debianPackage))].join(' ');
  throw failure('demo-programs-missing', {
    programs: missing.map(({ names }) => names.join(' or ')).join(', '),
    packages,
  });
}

function isInPath(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), accessModes.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function define(): Command {
  return newCommand('tsvswitch demo')
    .description('Boots two virtual machines on a switch and shows them talking to each other.')
    .option('--keep', 'leave it all running, with a console on each machine, until Ctrl-C', false)
    .option(
      '--hugepages',
      'reserve huge pages for the machines first (as root; says what changed)',
      false,
    )
    .addOption(
      new Option('--engine <engine>', 'what the machines are: QEMU, or User-mode Linux')
        .choices(engineTypes)
        .default('qemu'),
    )
    .action(async (options: DemoOptions) => {
      checkPrograms(options.engine);
      process.exitCode = await demo(options);
    });
}
