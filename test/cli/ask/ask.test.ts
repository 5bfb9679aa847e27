/** The commands that ask a running switch and change it, over its control socket. */

import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlServer } from '../../../src/control/server.ts';
import { Switch } from '../../../src/index.ts';
import { Command, type Exit } from '../../support/command.ts';

let folder: string;
let control: string;
let vswitch: Switch;
let server: ControlServer;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ask-'));
  control = join(folder, 'control');
  vswitch = Switch.open();
  server = ControlServer.listen(vswitch, { path: control });
  vswitch.addPort({ path: join(folder, 'web.sock') });
  vswitch.addPort({ process: 'mine', bridge: 'blue' });
});

afterEach(async () => {
  await Command.killAll();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

const tsvswitch = (line: string): Promise<Exit> =>
  Command.run(line.split(' '), { env: { TSVSWITCH_CONTROL: control } });

/** Of one that went well. */
async function output(line: string): Promise<string> {
  const { status, stdout, stderr } = await tsvswitch(line);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

test('status is a tree of bridges and ports; with --json what the API says', async () => {
  const [head, ...lines] = (await output('status')).split('\n');
  expect(head).toMatch(/^tsvswitch \S+, pid \d+, up \d+s, 1 worker$/);
  expect(lines).toEqual([
    'bridge blue',
    expect.stringMatching(/^ {2}mine {2}process\b/),
    'bridge default',
    expect.stringMatching(/^ {2}web {2}listening\b/),
    '',
  ]);
  const { ports } = JSON.parse(await output('status --json'));
  expect(ports.map(({ name }: { name: string }) => name)).toEqual(['web', 'mine']);
});

describe('show', () => {
  test('ports --json is one array, wherever the options stand', async () => {
    const exit = await Command.run(['--control', control, 'show', 'ports', '--json']);
    expect(exit).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(exit.stdout)).toMatchObject([
      { name: 'web', kind: 'vhost-user', listener: 'switch' },
      { name: 'mine', kind: 'host', bridge: 'blue' },
    ]);
    expect(JSON.parse(await output('--json show ports mine'))).toHaveLength(1);
  });

  test.each([
    ['show ports', 'PORT  STATE      PEER  MAC  FROM GUEST  TO GUEST  DROPS\nweb   listening '],
    ['show ports --sort port', 'PORT  STATE      PEER  MAC  FROM GUEST  TO GUEST  DROPS\nmine '],
    ['show ports -q --bridge blue', 'mine\n'],
    ['show ports --no-headers', 'web   listening '],
    ['show bridges', 'BRIDGE   PORTS  ADDRESSES\ndefault      1          0\nblue '],
    ['show workers', 'WORKER  CPU  TRANSMITQS\n     0  - '],
    ['show fdb', 'MAC  PORT  BRIDGE  KIND  AGE\n'],
    ['show queues', 'PORT  QUEUE  USE  STATE  OFFERED  BASE\n'],
    ['show drops', 'PORT  REASON  FRAMES\n'],
    ['show memory', 'PORT  REGIONS  BYTES  PAGES\n'],
    ['port', 'PORT  STATE '],
    ['bridge show', 'BRIDGE  '],
    ['fdb', 'MAC  PORT '],
    ['worker', 'WORKER  CPU '],
  ])('%s', async (line, expected) => {
    const text = await output(line);
    expect(text.slice(0, expected.length)).toBe(expected);
  });

  test('--watch is a document a line with --json, until nobody reads', async () => {
    const command = Command.begin(['show', 'ports', '--json', '--watch', '0.05'], {
      env: { TSVSWITCH_CONTROL: control },
    });
    await command.said('"name":"mine"', 3);
    const [line = ''] = command.stdout.split('\n');
    expect(JSON.parse(line)).toHaveLength(2);
    command.stopReading();
    expect((await command.exited).status).toBe(0);
  });

  test('events are those that happen, one a line', async () => {
    const command = Command.begin(['show', 'events'], { env: { TSVSWITCH_CONTROL: control } });
    const told = command.said('"type":"worker-added"');
    // Nobody says when it has begun to read.
    const timer = setInterval(() => vswitch.addWorker(), 100);
    await told;
    clearInterval(timer);
    await command.stop();
    expect(JSON.parse(command.stdout.split('\n')[0]!)).toMatchObject({ type: 'worker-added' });
  });
});

test('ports are added, changed and removed; the same again only where that is welcome', async () => {
  const path = join(folder, 'db.sock');
  expect(await output(`port add ${path} bridge=green mtu=9000 mac=52:54:00:00:00:09`)).toBe('');
  expect(vswitch.settings.ports.db).toMatchObject({
    ...{ kind: 'vhost-user', path, bridge: 'green', mtu: 9000 },
    source: { macs: ['52:54:00:00:00:09'] },
  });
  expect(await output(`port add ${path} --may-exist`)).toBe('');
  expect((await tsvswitch(`port add ${path}`)).status).not.toBe(0);
  await output('port set db mtu=1400 mac= bridge=blue');
  const { db } = vswitch.settings.ports;
  expect(db).toMatchObject({ mtu: 1400, bridge: 'blue' });
  expect(db).not.toHaveProperty('source');
  await output('port remove db');
  expect(vswitch.port('db')).toBeUndefined();
  expect((await tsvswitch('port remove db')).status).toBe(1);
  await output('port remove db --if-exists');
});

test('a port is taken down and up again', async () => {
  await output('port down web');
  expect(vswitch.settings.ports.web).toMatchObject({ down: true });
  expect(await output('show ports web --no-headers')).toMatch(/^web {2}down /);
  expect((await tsvswitch('doctor')).stdout).toMatch(/port web: it is down, .* port up web/);
  await output('port down web');
  await output('port up web');
  expect(vswitch.settings.ports.web).not.toHaveProperty('down');
  expect(await output('show ports web --no-headers')).toMatch(/^web {2}listening /);
  expect((await tsvswitch('port up nosuch')).status).toBe(1);
});

test('addresses are fixed, shown and freed', async () => {
  const mac = '52:54:00:00:00:0A';
  await output(`fdb add ${mac} --port web`);
  await output('fdb add 52:54:00:00:00:0b --drop --bridge blue');
  expect(await output('show fdb --no-headers --sort mac')).toBe(
    '52:54:00:00:00:0a  web  default  fixed  -\n52:54:00:00:00:0b  -    blue     drop   -\n',
  );
  expect(await output('show fdb -q')).toBe('52:54:00:00:00:0a\n52:54:00:00:00:0b\n');
  await output(`fdb add ${mac.toLowerCase()} --drop`);
  expect(vswitch.settings.fdb).toEqual([
    { mac: '52:54:00:00:00:0a' },
    { mac: '52:54:00:00:00:0b', bridge: 'blue' },
  ]);
  // As iproute2 spells it.
  expect((await tsvswitch('bridge fdb del 52:54:00:00:00:0b')).status).toBe(0);
  expect(vswitch.settings.fdb).toHaveLength(1);
  expect((await tsvswitch(`fdb remove ${mac} --bridge blue`)).stderr).toMatch(/is not fixed\n$/);
  await output(`fdb remove ${mac}`);
  await output(`fdb remove ${mac} --if-exists`);
  expect(vswitch.settings.fdb).toEqual([]);
});

test('what somebody else changed meanwhile is not overwritten, and told in one sentence', async () => {
  const path = join(folder, 'between');
  // Between the command and the switch: the other one is quicker by one request.
  const between = createServer((socket) => {
    const behind = connect(control);
    socket.on('data', (bytes) => {
      if (bytes.includes('PUT /v1/settings')) vswitch.apply({ ...vswitch.settings, workers: 2 });
      behind.write(bytes);
    });
    behind.pipe(socket);
    socket.on('error', () => behind.destroy());
    socket.on('close', () => behind.destroy());
  }).listen(path);
  const exit = await Command.run(['port', 'set', 'web', 'mtu=9000', '--control', path]);
  between.close();
  expect(exit).toMatchObject({ status: 1, stdout: '' });
  expect(exit.stderr).toMatch(/^tsvswitch: the settings were changed by somebody else [^\n]*\n$/);
  expect(vswitch.settings).toMatchObject({ workers: 2, ports: { web: { mtu: 1500 } } });
});

test('bridges are added, changed, flushed and removed', async () => {
  await output('bridge add red --ageing 5');
  expect(vswitch.settings.bridges.red).toEqual({ ageingSeconds: 5 });
  expect((await tsvswitch('bridge add red')).stderr).toMatch(/bridge red is there already/);
  await output('bridge add red --may-exist');
  await output('bridge set red --ageing 0');
  expect(vswitch.settings.bridges.red).toEqual({ ageingSeconds: 0 });
  await output('fdb flush --bridge red');
  await output('fdb flush');
  expect((await tsvswitch('fdb flush --bridge nowhere')).stderr).toMatch(/there is no bridge/);
  await output('bridge remove red');
  await output('bridge remove red --if-exists');
  expect((await tsvswitch('bridge remove red')).status).toBe(1);
  expect((await tsvswitch('bridge remove blue')).stderr).toMatch(/ports are on it: mine/);
});

test('links are impaired and mended, the network is cut and healed', async () => {
  vswitch.addPort({ process: 'other', bridge: 'blue' });
  await output('link set mine --to other --both delay=20ms loss=1%');
  expect(vswitch.settings.links).toMatchObject([
    { from: 'mine', to: 'other', impairment: { delayMs: 20, loss: 0.01 } },
    { from: 'other', to: 'mine', impairment: { delayMs: 20, loss: 0.01 } },
  ]);
  expect(JSON.parse(await output('link --json'))).toEqual(vswitch.settings.links);
  await output('link clear other --to mine');
  expect(vswitch.settings.links).toHaveLength(1);
  await output('partition mine / other,web');
  expect(vswitch.settings.partition).toEqual([['mine'], ['other', 'web']]);
  await output('heal');
  expect(vswitch.settings.partition).toEqual([]);
});

test('a worker is added, and removed but for the last', async () => {
  expect(JSON.parse(await output('worker add --json'))).toMatchObject({ number: 1 });
  expect(vswitch.workers).toHaveLength(2);
  await output('worker add --cpu 0');
  expect(vswitch.settings).toMatchObject({ workers: 3, cpus: [0] });
  await output('worker remove');
  expect(vswitch.settings).toMatchObject({ workers: 2, cpus: [] });
  await output('worker remove');
  const exit = await tsvswitch('worker remove');
  expect(exit).toMatchObject({ status: 2, stdout: '' });
  expect(exit.stderr).toMatch(/this is the last worker, and a switch needs one/);
  expect(vswitch.workers).toHaveLength(1);
});

test.each(['qemu', 'libvirt', 'cloud-hypervisor', 'testpmd', 'uml'])(
  'the options of %s for a port have its path',
  async (frontend) => {
    expect(await output(`snippet web --for ${frontend}`)).toContain(join(folder, 'web.sock'));
  },
);

describe('ends with', () => {
  test.each<[string, number, RegExp]>([
    ['show prots', 2, /unknown command 'prots' \(Did you mean ports\?\)/],
    ['port ad x', 2, /unknown command 'ad' \(Did you mean add\?\)/],
    ['port nosuch', 2, /unknown command 'nosuch'/],
    ['statsu', 2, /unknown command 'statsu'; did you mean status\?/],
    ['show', 2, /Usage: tsvswitch show/],
    ['show ports --sort stat', 2, /--sort: there is no stat; did you mean state\?/],
    ['show ports nosuch', 1, /there is no port nosuch; there are web, mine/],
    ['port set web mtu=5', 2, /ports\.web\.mtu: must be at least 68, not 5/],
    ['port set nosuch mtu=5', 1, /there is no port nosuch; there are web, mine/],
    ['fdb add 52:54:00:00:00:01', 2, /where 52:54:00:00:00:01 is, is missing: --port NAME/],
    ['fdb add 52:54 --port web', 2, /fdb\.0\.mac: .* a MAC address is six bytes/],
    ['fdb add 52:54:00:00:00:01 --port db', 2, /fdb\.0\.port: there is no port named db/],
    ['fdb add 52:54:00:00:00:01 --port web --drop', 2, /cannot be used with option/],
    ['link set web delay=20', 2, /20 has no unit/],
    ['snippet web --for vmware', 2, /Allowed choices are qemu/],
    ['snippet mine --for qemu', 2, /port mine is of kind process/],
    ['--control nothing.sock status', 3, /no switch can be reached/],
    ['doctor --control nothing.sock', 3, /no switch can be reached/],
    ['status --timeout no', 2, /Expected seconds/],
  ])('%s: %i', async (line, status, sentence) => {
    const exit = await tsvswitch(line);
    expect(exit).toMatchObject({ status, stdout: '' });
    expect(exit.stderr).toMatch(sentence);
  });

  test('124 when what was asked for takes longer than --timeout', async () => {
    const path = join(folder, 'silent');
    const silent = createServer().listen(path);
    const exit = await Command.run(['--control', path, '--timeout', '0.1', 'status']);
    silent.close();
    expect(exit).toMatchObject({ status: 124, stdout: '' });
    expect(exit.stderr).toBe('tsvswitch: not done within 0.1 s\n');
  });
});

test.each([
  ['show vhost-user', 'show ports'],
  ['show bridge-domain', 'show bridges'],
  ['show l2fib all', 'show fdb'],
  ['list-ports blue', 'show ports --quiet --bridge blue'],
  ['bridge link', 'show ports'],
  ['bridge fdb', 'fdb'],
])('%s, as others call it, is run as %s, and said so', async (theirs, ours) => {
  const [exit, expected] = [await tsvswitch(theirs), await tsvswitch(ours)];
  expect(exit).toMatchObject({ status: 0, stdout: expected.stdout });
  expect(exit.stderr).toMatch(/^tsvswitch: ".*" is ".*" here\n$/);
});
