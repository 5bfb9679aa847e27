/**
 * ready.ts: how long a machine is waited for, what is said of one that never comes, or goes
 * away.
 */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Switch } from '../../src/index.ts';
import { planOf } from '../../src/lab/file/plan.ts';
import { inspectImage } from '../../src/lab/image/qemu-img.ts';
import { cloudInitEnd, machineReady } from '../../src/lab/ready.ts';
import { type StartRequest, startMachine } from '../../src/lab/start.ts';
import { LabState } from '../../src/lab/state.ts';
import { end, type ProcessRecord } from '../../src/machine/detached-process.ts';
import { freePorts } from '../../src/machine/loopback-port.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ready-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** What a BIOS runs from a disk: waits for ever, resets the machine, or switches it off. */
const bootSectors = {
  // hlt; jmp -3
  waits: [0xf4, 0xeb, 0xfd],
  // mov al, 0xfe; out 0x64, al; hlt: a pulse on the reset line of the keyboard controller
  resets: [0xb0, 0xfe, 0xe6, 0x64, 0xf4],
  // mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt: SLP_EN in PM1a_CNT
  'switches itself off': [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4],
} as const;

describe('a machine that', { timeout: 300_000 }, () => {
  let vswitch: Switch;
  let request: StartRequest;
  let running: ProcessRecord;

  async function start(does: keyof typeof bootSectors): Promise<void> {
    const disk = join(folder, 'disk.raw');
    const sector = Buffer.alloc(1 << 20);
    sector.set(bootSectors[does]);
    sector.writeUInt16LE(0xaa55, 510);
    writeFileSync(disk, sector);
    const file = join(folder, 'lab.yaml');
    const plan = planOf({ machines: { never: { image: disk, memory: '64M' } } }, { file });
    const state = new LabState(plan, { XDG_STATE_HOME: folder, XDG_RUNTIME_DIR: folder });
    state.begin();
    vswitch = Switch.open();
    vswitch.addPort({ path: state.filesOf('never').portSocket });
    request = {
      state,
      machine: plan.machines[0]!,
      image: { type: 'disk', ...(await inspectImage(disk)) },
      engines: {
        qemu: { accelerator: 'tcg', memory: { type: 'memfd' }, reconnect: 'reconnect=1' },
        uml: undefined,
      },
      command: resolve('dist/cli/main.js'),
      sshPort: (await freePorts([undefined]))[0]!,
      publicKey: 'ssh-ed25519 AAAA test',
      folder,
      progress: () => {},
      signal: undefined,
    };
    await startMachine(request, (process) => {
      running = process;
    });
  }

  afterEach(async () => {
    await end(running);
    vswitch.close();
  });

  test('waits for ever is given up with a sentence', async () => {
    await start('waits');
    await expect(machineReady(request, running, 500)).rejects.toMatchObject({
      name: 'TsvswitchError',
      code: 'MACHINE_FAILED',
      message: expect.stringMatching(
        /^never: nobody could log in within 0\.5 s; it runs on, with a console to look at, which/,
      ),
    });
  });

  test('nobody waits for any more is given up with their reason', async () => {
    await start('waits');
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(machineReady({ ...request, signal }, running)).rejects.toThrow('enough');
  });

  test('resets is waited for from the beginning, again and again', async () => {
    await start('resets');
    const boots: (string | undefined)[] = [];
    const enough = new AbortController();
    const progress: StartRequest['progress'] = ({ stage, detail }) => {
      if (stage === 'boot') boots.push(detail);
      if (boots.length === 3) enough.abort(new Error('enough'));
    };
    const seen = { ...request, progress, signal: enough.signal };
    await expect(machineReady(seen, running)).rejects.toThrow('enough');
    expect(boots).toEqual([undefined, 'restarted', 'restarted']);
  });

  test('switches itself off is told as such', async () => {
    await start('switches itself off');
    await expect(machineReady(request, running)).rejects.toThrow(
      /^never switched itself off before it was ready, as its user-data or its image has it; `tsvswitch lab up` starts it again$/,
    );
  });
});

describe('what is run in a machine to know that it stays', () => {
  /** Runs it with a root of its own, in which `commands` and `files` are. */
  async function run(
    files: Record<string, string>,
    commands: Record<string, string>,
    argument = '',
  ): Promise<string> {
    const bin = join(folder, 'bin');
    const programs = {
      'cloud-init': 'exit 0',
      sudo: 'shift; exec "$@"',
      systemctl: 'echo running',
      ...commands,
    };
    for (const [name, line] of Object.entries(programs)) {
      write(join(bin, name), `#!/bin/sh\n${line}\n`);
    }
    const root = { '/proc/7/comm': 'sshd\n', ...files };
    for (const [name, content] of Object.entries(root)) write(join(folder, name), content);
    const script = cloudInitEnd.replaceAll(/\/(?=run\/|proc\/)/g, `${folder}/`);
    const path = `${bin}:${process.env.PATH}`;
    const options = { env: { PATH: path }, stripFinalNewline: false };
    return (await execa('sh', ['-c', script, 'sh', argument], options)).stdout;
  }

  function write(path: string, content: string): void {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { mode: 0o755 });
  }

  const done = { '/run/cloud-init/result.json': '{}' };

  test.for<[string, Record<string, string>, Record<string, string>, string]>([
    ['it stays', done, {}, 'stays\n{}'],
    ['it still starts', done, { systemctl: 'echo starting; exit 1' }, 'stays\n{}'],
    ['it has no systemd', done, { systemctl: 'exit 127' }, 'stays\n{}'],
    ['it has no sudo', done, { sudo: 'exit 127' }, 'stays\n{}'],
    ['it stops and has no sudo', done, { sudo: '', systemctl: 'echo stopping' }, 'goes down\n{}'],
    ['cloud-init is disabled', { '/run/cloud-init/disabled': '' }, {}, 'stays\n'],
    ['it stops', done, { systemctl: 'echo stopping; exit 1' }, 'goes down\n{}'],
    ['it will stop', { ...done, '/run/systemd/shutdown/scheduled': '' }, {}, 'goes down\n{}'],
    ['somebody delays its stop', done, { busctl: 'echo b true' }, 'goes down\n{}'],
  ])('%s', async ([, files, commands, expected]) => {
    expect(await run(files, commands)).toBe(expected);
  });

  test('it has a D-Bus that nobody answers on any more', async () => {
    mkdirSync(join(folder, 'run/dbus'), { recursive: true });
    const bus = createServer();
    await once(bus.listen(join(folder, 'run/dbus/system_bus_socket')), 'listening');
    expect(await run(done, { sudo: 'exit 1', systemctl: 'exit 1' })).toBe('goes down\n{}');
    bus.close();
  });

  test.for(['cloud-init', 'shutdown', 'reboot', 'poweroff'])(
    'nothing is said while there is a process %s',
    async (name) => {
      // Whoever sleeps for it is who ends it.
      const sleep = `printf 'gone\\n' >${folder}/proc/9/comm`;
      const files = { ...done, '/proc/9/comm': `${name}\n` };
      expect(await run(files, { sleep })).toBe('stays\n{}');
      expect(readFileSync(join(folder, 'proc/9/comm'), 'utf8')).toBe('gone\n');
    },
  );

  test('and asked to it holds on for as long as the machine goes down', async () => {
    const scheduled = join(folder, 'run/systemd/shutdown/scheduled');
    const files = { ...done, '/run/systemd/shutdown/scheduled': '' };
    expect(await run(files, { sleep: `rm ${scheduled}` }, 'wait')).toBe('stays\n{}');
  });
});
