/**
 * `tsvswitch lab` as people use it, on two tiny machines: every command, in the order of a lab's
 * life, and after it the same commands asked for what cannot be.
 */

import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { LabStatus } from '../../src/lab/report.ts';
import { script } from '../support/command.ts';
import { type LabExit, LabFolder } from '../support/lab-command.ts';
import { needsRoot } from '../support/needs.ts';

/** Machines boot in seconds; emulated ones on a busy host take their time. */
const changeLimitMs = 600_000;
const tinyLab = 'machines: { vm1: {}, vm2: {} }\n';
const loneLab = 'machines: { vm1: {} }\n';

let folder: LabFolder;

/**
 * One sentence for people: no stack trace, and no other line but what a wrong command line is told.
 */
function expectSentence({ stderr }: LabExit, pattern: RegExp): void {
  const [sentence, ...rest] = stderr.split('\n');
  expect(sentence).toMatch(pattern);
  expect(sentence).toMatch(/^(tsvswitch|error): /);
  expect(rest.join('')).toMatch(/^(\(tsvswitch lab --help lists the options\))?$/);
}

async function expectSuccess(args: readonly string[]): Promise<string> {
  const exit = await folder.run(args);
  expect(exit, exit.stderr).toMatchObject({ status: 0, stderr: '' });
  return exit.stdout;
}

async function status(): Promise<LabStatus> {
  return JSON.parse(await expectSuccess(['status', '--json']));
}

describe('a lab from the first command to the last', () => {
  beforeAll(async () => {
    folder = await LabFolder.make(tinyLab);
  });

  afterAll(() => folder.dispose(), changeLimitMs);

  test('status of a lab that was never up says so and makes nothing', async () => {
    expect(await expectSuccess(['status'])).toMatch(
      /^lab [a-z0-9-]+: nothing of it is there; `tsvswitch lab up` makes its machines \(vm1, vm2\)$/,
    );
    expect(folder.leftovers()).toEqual([]);
  });

  test('up tells every step in a line and ends when every machine is ready', {
    timeout: changeLimitMs,
  }, async () => {
    const lines = (await expectSuccess(['up'])).split('\n');
    for (const machine of ['vm1', 'vm2']) {
      const steps = lines.filter((line) => line.includes(` ${machine}: `));
      expect(steps.length).toBeGreaterThan(1);
      expect(steps.at(-1)).toMatch(new RegExp(`^ +\\d+\\.\\d s {2}${machine}: ready`));
    }
    expect((await status()).machines).toMatchObject([
      { name: 'vm1', state: 'running' },
      { name: 'vm2', state: 'running' },
    ]);
  });

  test('up once more changes nothing', { timeout: changeLimitMs }, async () => {
    const pids = async () => (await status()).machines.map((one) => 'pid' in one && one.pid);
    const before = await pids();
    await expectSuccess(['up']);
    expect(await pids()).toEqual(before);
  });

  test('status shows state, address, MAC and ssh port of each', async () => {
    const { machines } = await status();
    const text = await expectSuccess(['status']);
    for (const { name, addresses, mac, sshPort } of machines) {
      const row = text.split('\n').find((line) => line.startsWith(`${name} `));
      expect(row).toMatch(/running for \d+ (s|min) \(process \d+\)/);
      for (const part of [addresses[0], mac, `port ${sshPort}`]) expect(row).toContain(part);
    }
  });

  test('doctor and add-worker find the switch of the only lab that runs, and status names it', async () => {
    const { control } = (await status()).switch;
    expect(await expectSuccess(['status'])).toContain(`, control socket ${control}\n`);
    const options = { env: folder.environment, cwd: folder.path, reject: false };
    const said = { stderr: expect.stringMatching(/^tsvswitch: this is the switch of lab /) };
    const doctor = await execa(process.execPath, [script, 'doctor'], options);
    expect(doctor).toMatchObject({ exitCode: 0, ...said });
    for (const name of ['vm1', 'vm2']) {
      expect(doctor.stdout.split('\n')).toContain(`port ${name}: carries frames`);
    }
    const worker = await execa(process.execPath, [script, 'add-worker'], options);
    expect(worker).toMatchObject({ exitCode: 0, stdout: 'worker 1 runs', ...said });
  });

  test('the lab file is named before or behind the command, and the nearer one counts', async () => {
    await folder.write(tinyLab.replace('vm2', 'other'), 'other.yaml');
    expect(await expectSuccess(['-f', 'other.yaml', 'status'])).toContain('other');
    expect(await expectSuccess(['status', '-f', 'other.yaml'])).toContain('other');
    expect(await expectSuccess(['-f', 'other.yaml', 'status', '-f', 'lab.yaml'])).toContain('vm2');
  });

  test('ping shows a round trip between every two machines', async () => {
    const [header, ...rows] = (await expectSuccess(['ping'])).split('\n');
    expect(header).toMatch(/^FROM \\ TO +vm1 +vm2$/);
    expect(rows).toEqual([
      expect.stringMatching(/^vm1 +- +\d+\.\d\d ms$/),
      expect.stringMatching(/^vm2 +\d+\.\d\d ms +-$/),
    ]);
  });

  test('iperf says what arrived', async () => {
    const text = await expectSuccess(['iperf', 'vm1', 'vm2', '--seconds', '1']);
    expect(text).toMatch(/^vm1 to vm2: [\d.]+ [kMG]?bit\/s, [\d.]+ MB arrived in \d+\.\d s$/);
  });

  test('exec gives arguments as they are, standard input, and the status', async () => {
    const odd = ["it's", 'two words', '$HOME', '*', ''];
    const argument = await folder.run(['exec', 'vm1', '--', 'printf', '<%s>', ...odd]);
    expect(argument).toMatchObject({ status: 0, stdout: "<it's><two words><$HOME><*><>" });
    const input = await folder.run(['exec', 'vm1', 'cat'], { input: 'hello' });
    expect(input).toMatchObject({ status: 0, stdout: 'hello' });
    const failing = await folder.run(['exec', 'vm1', '--', 'sh', '-c', 'echo oh >&2; exit 42']);
    expect(failing).toMatchObject({ status: 42, stdout: '', stderr: 'oh' });
  });

  test('ssh gives a line to the shell, and its status', async () => {
    const exit = await folder.run(['ssh', 'vm2', '--', 'hostname; exit 7']);
    expect(exit).toMatchObject({ status: 7, stdout: 'vm2' });
  });

  test('logs shows the console, and with -f also what comes later', async () => {
    const mark = `mark-${process.pid}`;
    const following = folder.start(['logs', 'vm1', '-f']);
    await folder.run(['console', 'vm1'], { input: `\necho ${mark}\n` });
    await following.said(mark);
    await following.stop('SIGTERM');
    expect(await expectSuccess(['logs', 'vm1'])).toContain(mark);
  });

  test('console is a terminal on the machine that Ctrl-] leaves, for one at a time', async () => {
    const visitor = folder.startInTerminal(['console', 'vm2']);
    await visitor.said('Ctrl-] leaves it');
    expectSentence(await folder.run(['console', 'vm2']), /another terminal is on its console/);
    visitor.type('\recho $((6 * 7))-$(hostname)\r');
    await visitor.said('42-vm2');
    visitor.type('\x1d');
    expect(await visitor.exited).toMatchObject({ status: 0 });
  });

  test('add brings one more machine to the network, and remove takes it away', {
    timeout: changeLimitMs,
  }, async () => {
    // No machine is given an address that ends in 0 unless it asks for it.
    await expectSuccess(['add', 'vm3', '--set', 'addresses=[10.83.255.0/16]', '--set', 'cpus=1']);
    expect(await expectSuccess(['ping'])).toMatch(/^vm3( +\d+\.\d\d ms){2} +-$/m);
    expect(await expectSuccess(['exec', 'vm3', 'ip', 'address'])).toContain('10.83.255.0/16');
    await expectSuccess(['remove', 'vm3']);
    expect((await status()).machines.map(({ name }) => name)).toEqual(['vm1', 'vm2']);
  });

  test('restart boots the machine anew and leaves the other alone', {
    timeout: changeLimitMs,
  }, async () => {
    const [before1, before2] = (await status()).machines;
    expect(await expectSuccess(['restart', 'vm1'])).toMatch(/vm1: ready/);
    const [after1, after2] = (await status()).machines;
    expect(after1).toMatchObject({ state: 'running', addresses: before1!.addresses });
    expect(after1).not.toMatchObject({ pid: (before1 as { pid: number }).pid });
    expect(after2).toMatchObject({ pid: (before2 as { pid: number }).pid });
  });

  test('a killed machine is reported, and up brings it back', {
    timeout: changeLimitMs,
  }, async () => {
    const [vm1] = (await status()).machines;
    process.kill((vm1 as { pid: number }).pid, 'SIGKILL');
    await expect.poll(async () => (await status()).machines[0]!.state).toBe('crashed');
    expect(await expectSuccess(['status'])).toMatch(/^vm1 +crashed/m);
    const exit = await folder.run(['exec', 'vm1', 'true']);
    expect(exit.status).toBe(1);
    expect(exit.stderr).toMatch(/^tsvswitch: vm1: QEMU ended by itself or was killed/);
    const up = await folder.startInTerminal(['up']).exited;
    expect(up.status, up.stdout).toBe(0);
    expect((await status()).machines[0]).toMatchObject({ state: 'running' });
    // In a terminal there is one line a machine, drawn over until it is settled.
    expect(up.stdout).toContain('\x1b[2K');
    const settled = up.stdout.slice(up.stdout.lastIndexOf('lab: '));
    expect(settled).toMatch(/vm1: ready.*\r\n.*vm2: nothing to do/);
  });

  test('down --destroy leaves no process, socket, disk or log', {
    timeout: changeLimitMs,
  }, async () => {
    expect(folder.leftovers()).not.toEqual([]);
    await expectSuccess(['down', '--destroy']);
    expect(folder.leftovers()).toEqual([]);
    expect(await expectSuccess(['status'])).toContain('nothing of it is there');
  });
});

describe('what cannot be is said in one sentence', () => {
  afterEach(() => folder.dispose(), changeLimitMs);

  const wrong = async (yaml: string | undefined, args: readonly string[]) => {
    folder = await LabFolder.make(yaml);
    const exit = await folder.run(args);
    expect(folder.leftovers()).toEqual([]);
    return exit;
  };

  test.each<[string, string[], RegExp]>([
    ['no command', [], /Usage: tsvswitch lab/],
    ['an unknown command', ['upp'], /unknown command 'upp'/],
    ['an unknown option', ['up', '--fast'], /unknown option '--fast'/],
    ['a machine too few', ['iperf', 'vm1'], /missing required argument 'to'/],
    ['no command to run', ['exec', 'vm1'], /missing required argument 'command'/],
    ['a setting that is none', ['add', 'vm3', '--set', 'cpus'], /--set cpus: expected key=value/],
    ['a time in words', ['iperf', 'vm1', 'vm2', '--seconds', 'ten'], /whole number/],
  ])('%s is wrong usage', async (_, args, pattern) => {
    const exit = await wrong(tinyLab, args);
    expect(exit).toMatchObject({ status: 2, stdout: '' });
    expect(exit.stderr).toMatch(pattern);
  });

  test.each(['up', 'down', 'status', 'ping'])('%s without a lab file', async (command) => {
    const exit = await wrong(undefined, [command]);
    expect(exit.status).toBe(1);
    expectSentence(exit, /there is no lab\.yaml in .*; write one .* or name another with -f/);
  });

  test.each(['ssh', 'exec', 'console', 'logs', 'restart', 'remove'])(
    '%s of a machine that the lab does not have',
    async (command) => {
      const exit = await wrong(
        tinyLab,
        [command, 'vm3', 'true'].slice(0, command === 'exec' ? 3 : 2),
      );
      expect(exit.status).toBe(1);
      expectSentence(exit, /has no machine vm3; it has vm1, vm2/);
    },
  );

  test('a misspelt key, with its place', async () => {
    const exit = await wrong('machines:\n  vm1: { memroy: 1G }\n', ['up']);
    expect(exit.status).toBe(1);
    expectSentence(exit, /lab\.yaml:2:10: .*memroy.*memory/);
  });

  test.each([
    ['ssh', ['ssh', 'vm1']],
    ['exec', ['exec', 'vm1', 'true']],
    ['console', ['console', 'vm1']],
    ['logs', ['logs', 'vm1']],
    ['ping', ['ping']],
    ['iperf', ['iperf', 'vm1', 'vm2']],
  ])('%s in a lab that is not up', async (_, args) => {
    const exit = await wrong(tinyLab, args);
    expect(exit.status).toBe(1);
    expectSentence(exit, /`tsvswitch lab up`/);
  });

  test('an ssh port that somebody else has', { timeout: changeLimitMs }, async () => {
    const server: Server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as { port: number };
      folder = await LabFolder.make(`machines: { vm1: { sshPort: ${port} } }\n`);
      const exit = await folder.run(['up']);
      expect(exit.status).toBe(1);
      expectSentence(exit, new RegExp(`vm1.*${port}`));
      await expectSuccess(['down', '--destroy']);
      expect(folder.leftovers()).toEqual([]);
    } finally {
      server.close();
    }
  });

  test('a state folder that may not be written to', needsRoot, async () => {
    folder = await LabFolder.make(tinyLab);
    chmodSync(folder.path, 0o755);
    const exit = await folder.run(['up'], { uid: 65_534, gid: 65_534 });
    expect(exit.status).toBe(1);
    expectSentence(exit, /cannot keep its state in .*; make that writable, or set XDG_STATE_HOME/);
    expect(folder.leftovers()).toEqual([]);
  });

  test('Ctrl-C in the middle of up ends it with what to do, and up goes on from there', {
    timeout: changeLimitMs,
  }, async () => {
    folder = await LabFolder.make(loneLab);
    const exit = await stoppedWhileBooting('SIGINT');
    expect(exit.status).toBe(130);
    expectSentence(exit, /ended by SIGINT; `tsvswitch lab up` goes on/);
    const [before] = (await status()).machines;
    await expectSuccess(['up']);
    expect((await status()).machines).toMatchObject([
      { state: 'running', pid: (before as { pid: number }).pid },
    ]);
  });

  test('down takes away what an up left that was killed', {
    timeout: changeLimitMs,
  }, async () => {
    folder = await LabFolder.make(loneLab);
    await stoppedWhileBooting('SIGKILL');
    expect(folder.leftovers()).not.toEqual([]);
    await expectSuccess(['down', '--destroy']);
    expect(folder.leftovers()).toEqual([]);
  });

  async function stoppedWhileBooting(signal: NodeJS.Signals) {
    const up = folder.start(['up']);
    await up.said('vm1: boot');
    return up.stop(signal);
  }
});

test('schema names a JSON schema', async () => {
  folder = await LabFolder.make();
  try {
    const path = await expectSuccess(['schema']);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ title: 'tsvswitch lab' });
    expect(path).toBe(join(process.cwd(), 'lab.schema.json'));
  } finally {
    await folder.dispose();
  }
});
