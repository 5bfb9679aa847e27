/**
 * What a service manager is told, as it arrives at a datagram socket.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { native } from '../../../src/native/addon.ts';
import { Notifier } from '../../../src/operate/service/notifier.ts';
import { ServiceManager } from '../../support/service-manager.ts';

let folder: string;
let manager: ServiceManager;
let notifier: Notifier;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'notify-'));
  manager = ServiceManager.listen(folder);
  notifier = Notifier.connect(manager.path);
});

afterEach(() => {
  notifier.close();
  manager.close();
  rmSync(folder, { recursive: true });
});

test('it is told of the start, a reload, the status, life and the end', async () => {
  notifier.ready('2 ports');
  notifier.alive();
  notifier.status('1 port');
  const before = process.hrtime.bigint() / 1000n;
  notifier.reloading();
  const after = process.hrtime.bigint() / 1000n;
  notifier.ready('3 ports');
  notifier.stopping();
  await manager.told('STOPPING=1');
  const [time] = manager.lines.filter((line) => line.startsWith('MONOTONIC_USEC='));
  const us = BigInt(time!.slice('MONOTONIC_USEC='.length));
  expect(us >= before && us <= after).toBe(true);
  expect(manager.lines.filter((line) => line !== time)).toEqual([
    ...['READY=1', 'STATUS=2 ports', 'WATCHDOG=1', 'STATUS=1 port'],
    ...['RELOADING=1', 'READY=1', 'STATUS=3 ports', 'STOPPING=1'],
  ]);
});

test('a status is one line, whatever is in it', async () => {
  notifier.status('port a\nMAINPID=1\u0000');
  await manager.told(/^STATUS=/);
  expect(manager.lines).toEqual(['STATUS=port a\\u{a}MAINPID=1\\u{0}']);
});

test('it keeps fds under their names, and gives them up', async () => {
  const fd = native().memfdCreate('kept', 4096);
  notifier.store('a name', fd);
  native().closeFd(fd);
  notifier.store('no:name', 1);
  notifier.store(`${'x'.repeat(256)}`, 1);
  notifier.store('Ä', 1);
  await manager.told('FDNAME=a name');
  expect(manager.storedNames).toEqual(['a name']);
  expect(readFileSync(`/proc/self/fd/${manager.stored('a name')}`)).toHaveLength(4096);
  notifier.forget('a name');
  await manager.told('FDSTOREREMOVE=1');
  expect(manager.storedNames).toEqual([]);
});

test('while it does not read, what has to arrive waits in order, and nothing else does', async () => {
  const fdsBefore = openFds();
  manager.pause();
  for (let i = 0; i < 300; i++) notifier.forget(`name ${i}`);
  const fd = native().memfdCreate('kept', 4096);
  notifier.store('kept', fd);
  native().closeFd(fd);
  for (let i = 0; i < 10; i++) {
    notifier.alive();
    notifier.status(`status ${i}`);
  }
  notifier.ready('all');
  manager.resume();
  await manager.told('STATUS=all');
  const names = manager.lines.filter((line) => line.startsWith('FDNAME='));
  expect(names).toEqual([
    ...Array.from({ length: 300 }, (_, i) => `FDNAME=name ${i}`),
    'FDNAME=kept',
  ]);
  expect(manager.lines.slice(-4)).toEqual([
    'FDNAME=kept',
    'STATUS=status 9',
    'READY=1',
    'STATUS=all',
  ]);
  expect(manager.lines).not.toContain('WATCHDOG=1');
  expect(manager.storedNames).toEqual(['kept']);
  // That of the store.
  expect(openFds()).toBe(fdsBefore + 1);
});

test('however much waits, it has a bound, and closing gives all back', () => {
  manager.pause();
  const fdsBefore = openFds();
  for (let i = 0; i < 6000; i++) notifier.store('null', 0);
  const held = openFds() - fdsBefore;
  expect(held).toBeLessThanOrEqual(4096);
  expect(held).toBeGreaterThan(2000);
  notifier.close();
  notifier.close();
  expect(openFds()).toBe(fdsBefore - 1);
  notifier.status('nobody hears');
});

test('one that went and came back is told again', async () => {
  notifier.ready('a');
  await manager.told('READY=1');
  manager.close();
  notifier.status('nobody hears');
  rmSync(manager.path);
  notifier.status('nobody hears');
  manager = ServiceManager.listen(folder);
  notifier.status('b');
  await manager.told('STATUS=b');
});

test.each(['vsock:2:1234', 'notify', '@', '', `/${'x'.repeat(108)}`])(
  'one whose socket cannot be one is named: %j',
  (name) => {
    expect(() => Notifier.connect(name)).toThrow(
      /^NOTIFY_SOCKET: .*; the service manager is told nothing$/,
    );
  },
);

test('one that is not there is named', () => {
  const path = join(folder, 'nobody');
  expect(() => Notifier.connect(path)).toThrow(`cannot connect to ${path}: No such file`);
});

/** Receives in another language, and from whom the kernel says it came. */
const receiver = `
import socket, struct, sys
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
notify.bind('\\0' + sys.argv[1])
print('bound', flush=True)
data, control, _, _ = notify.recvmsg(4096, 4096)
[pid] = [struct.unpack('3i', item)[0] for _, kind, item in control if kind == 2]
print(pid, data.decode(), flush=True)
`;

test('its socket may be in no file system, and the kernel tells it who speaks', async () => {
  const name = `tsvswitch-test-${process.pid}`;
  const child: ChildProcess = spawn('python3', ['-c', receiver, name]);
  let output = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const ended = once(child, 'close');
  await vi.waitFor(() => expect(output).toBe('bound\n'), 60_000);
  const abstract = Notifier.connect(`@${name}`);
  abstract.ready('here');
  await ended;
  expect(output).toBe(`bound\n${process.pid} READY=1\nSTATUS=here\n`);
  abstract.close();
});

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}
