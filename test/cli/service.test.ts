/**
 * The command as a service: what its manager hears of it, when it hangs, and that sockets outlive
 * it. Where systemd is installed, its own program passes the sockets.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { native } from '../../src/native/addon.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command, script } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { ServiceManager } from '../support/service-manager.ts';
import { StoppedThread, workerThreads } from '../support/stopped-thread.ts';

let folder: string;
let manager: ServiceManager;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'service-'));
  manager = ServiceManager.listen(folder);
});

afterEach(async () => {
  await StoppedThread.releaseAll();
  await Command.killAll();
  manager.close();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);
const asPort = (name: string) => ['--socket', socket(name)];

async function expectFrames(from: TestGuest, to: TestGuest): Promise<void> {
  for (let number = 0; number < 5; number++) {
    await from.send(frameBetween(0, 1, number));
    expect(numberOf(await to.receive())).toBe(number);
  }
}

describe('a service manager', () => {
  test('hears that all ports listen, who is connected, and of the end', async () => {
    const command = manager.start([...asPort('a'), ...asPort('b')]);
    await manager.told('READY=1');
    expect(manager.lines.at(-1)).toBe('STATUS=2 ports, 0 connected');
    const guest = await TestGuest.connect({ path: socket('a') });
    await manager.told('STATUS=2 ports, 1 connected');
    guest.disconnect();
    await manager.told('STATUS=2 ports, 0 connected', 2);
    const { status, stderr } = await command.stop();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await manager.told('STOPPING=1');
    expect(manager.lines).not.toContain('WATCHDOG=1');
  });

  test('that is not there is warned of, and the switch runs', async () => {
    const command = Command.begin(asPort('a'), { env: { NOTIFY_SOCKET: join(folder, 'nobody') } });
    await command.said('warn NOTIFY_SOCKET: cannot connect to');
    expect((await command.stop()).status).toBe(0);
  });

  test('of a switch that does not start hears nothing', async () => {
    const command = manager.start(['--socket', join(folder, 'no', 'a.sock')]);
    expect((await command.exited).status).toBe(1);
    expect(manager.lines).toEqual([]);
  });
});

describe('the watchdog', () => {
  test.each([0, 1])('gets no sign of life while worker %i hangs', async (hanging) => {
    const args = [...asPort('a'), '--workers', '2', '--control', socket('control')];
    const command = manager.start(args, { watchdogUs: 400_000 });
    // Two workers that sleep, since there is no guest.
    await manager.told('WATCHDOG=1', 5);
    const stopped = await StoppedThread.stop(workerThreads(command.pid)[hanging]!);
    await manager.told(`STATUS=worker ${hanging} without rounds; 1 port, 0 connected`);
    await command.said(
      `error worker ${hanging} makes no rounds; if it does not go on within 0.4 s`,
    );
    const signs = manager.lines.filter((line) => line === 'WATCHDOG=1').length;
    // The event loop goes on.
    await using client = await ControlClient.connect(socket('control'));
    for (let i = 0; i < 100; i++) expect((await client.status()).ports).toHaveLength(1);
    expect(manager.lines.filter((line) => line === 'WATCHDOG=1')).toHaveLength(signs);
    await stopped.release();
    await command.said('info all workers make rounds again');
    await manager.told('WATCHDOG=1', signs + 5);
    expect((await command.stop()).status).toBe(0);
  });

  test('gets signs of life while all workers have much to do', async () => {
    const command = manager.start([...asPort('a'), ...asPort('b'), '--idle-us', '1000000'], {
      watchdogUs: 200_000,
    });
    await manager.told('READY=1');
    await using a = await TestGuest.connect({ path: socket('a') });
    await using b = await TestGuest.connect({ path: socket('b') });
    const signs = manager.lines.filter((line) => line === 'WATCHDOG=1').length;
    const told = manager.told('WATCHDOG=1', signs + 5);
    let isTold = false;
    void told.then(() => {
      isTold = true;
    });
    while (!isTold) await expectFrames(a, b);
    expect(command.stdout).not.toContain('makes no rounds');
    await command.stop();
  });
});

describe('sockets of ports', () => {
  test('are kept by the manager, and given up when the port goes', async () => {
    const control = socket('control');
    const command = manager.start([...asPort('a'), '--control', control]);
    await manager.told('READY=1');
    const kept = (name: string) => `listening ${socket(name)}`;
    expect(manager.storedNames).toEqual([kept('a'), kept('control')]);
    await using client = await ControlClient.connect(control);
    await client.addPort({ path: socket('b') });
    await manager.told(`FDNAME=${kept('b')}`);
    await client.removePort('b');
    await manager.told('FDSTOREREMOVE=1');
    expect(manager.storedNames).toEqual([kept('a'), kept('control')]);
    await client.close();
    await command.stop();
    await manager.told(`FDNAME=${kept('a')}`, 2);
    expect(readdirSync(folder)).toEqual(['notify']);
  });

  test('outlive a switch that is killed: who connects meanwhile is served by the next one', async () => {
    const args = [...asPort('a'), ...asPort('b')];
    const killed = manager.start(args);
    await manager.told('READY=1');
    const inode = statSync(socket('a')).ino;
    await killed.stop('SIGKILL');
    // Nobody is there who would accept, and nobody refuses.
    const [a, b] = [
      TestGuest.connect({ path: socket('a') }),
      TestGuest.connect({ path: socket('b') }),
    ];
    const next = manager.start(args);
    await manager.told('READY=1', 2);
    await using from = await a;
    await using to = await b;
    await expectFrames(from, to);
    expect(statSync(socket('a')).ino).toBe(inode);
    expect((await next.stop()).status).toBe(0);
    expect(readdirSync(folder)).toEqual(['notify']);
  });

  test('of ports that there are no more go', async () => {
    const killed = manager.start([...asPort('a'), ...asPort('old')]);
    await manager.told('READY=1');
    await killed.stop('SIGKILL');
    const next = manager.start(asPort('a'));
    await manager.told('READY=1', 2);
    expect(manager.storedNames).toEqual([`listening ${socket('a')}`]);
    expect(existsSync(socket('old'))).toBe(false);
    expect(next.stdout).not.toContain('warn');
    await next.stop();
  });

  test('whose files were removed are made anew', async () => {
    const killed = manager.start(asPort('a'));
    await manager.told('READY=1');
    await killed.stop('SIGKILL');
    rmSync(socket('a'));
    const next = manager.start(asPort('a'));
    await manager.told('READY=1', 2);
    await using _ = await TestGuest.connect({ path: socket('a') });
    await next.stop();
  });
});

describe('sockets that a socket unit made', () => {
  /** As systemd has them: made and held by somebody else. */
  function unit(name: string, mode = 0o660): { fd: number; name: string } {
    const path = socket(name);
    const fd = native().socketBind(path);
    native().socketListen(fd, 8);
    chmodSync(path, mode);
    return { fd, name };
  }

  test('are those of ports and of the control socket, and stay when these go', async () => {
    const given = [unit('a'), unit('control', 0o600)];
    const command = manager.start([...asPort('a'), '--control', socket('control')], { given });
    await manager.told('READY=1');
    // It is the unit's, and not kept.
    expect(manager.storedNames).toEqual([]);
    const client = await ControlClient.connect(socket('control'));
    const guest = await TestGuest.connect({ path: socket('a') });
    guest.disconnect();
    await client.removePort('a');
    expect(existsSync(socket('a'))).toBe(true);
    // And the next port of that path has it again.
    await client.addPort({ path: socket('a') });
    await using _ = await TestGuest.connect({ path: socket('a') });
    await client.close();
    expect((await command.stop()).status).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(['a.sock', 'control.sock', 'notify']);
    for (const { fd } of given) native().closeFd(fd);
  });

  test('let in nobody whom the port would not', async () => {
    const given = [unit('a', 0o666)];
    const command = manager.start(asPort('a'), { given });
    const { status, stderr } = await command.exited;
    expect(status).toBe(1);
    expect(stderr).toContain(
      `socket ${socket('a')}: its socket unit made it with 666, wanted is 660; put ` +
        'SocketMode=0660 there',
    );
    expect(existsSync(socket('a'))).toBe(true);
    for (const { fd } of given) native().closeFd(fd);
  });

  test('that no port has are warned of, and so is what is no such socket', async () => {
    const given = [unit('other'), { fd: native().memfdCreate('else', 1), name: 'else' }];
    const tcp: Server = createServer().listen(0);
    await once(tcp, 'listening');
    const { fd } = (tcp as unknown as { _handle: { fd: number } })._handle;
    const command = manager.start(asPort('a'), { given: [...given, { fd, name: 'tcp' }] });
    await command.said(
      `warn socket ${socket('other')}: a socket unit made it, but no port has this path`,
    );
    await command.said('warn fd 4 (else): the service manager passed it, but it is no unix socket');
    await command.said('warn fd 5 (tcp): the service manager passed it, but it is no unix socket');
    expect((await command.stop()).status).toBe(0);
    for (const each of given) native().closeFd(each.fd);
    tcp.close();
  });

  test('come from systemd-socket-activate: the first who connects starts the switch', async () => {
    const activator = spawn(
      'systemd-socket-activate',
      [
        ...['-l', socket('a'), '-l', socket('b'), '-l', socket('control')],
        ...[process.execPath, script, ...asPort('a'), ...asPort('b')],
        ...['--control', socket('control')],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    for (const stream of [activator.stdout, activator.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const ended = once(activator, 'exit');
    try {
      await vi.waitFor(() => expect(existsSync(socket('control'))).toBe(true), 60_000);
      await using a = await TestGuest.connect({ path: socket('a') });
      await using b = await TestGuest.connect({ path: socket('b') });
      await expectFrames(a, b);
      const client = await ControlClient.connect(socket('control'));
      expect((await client.status()).pid).toBe(activator.pid);
      await client.close();
      expect(output).not.toContain('warn');
      activator.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
    } finally {
      activator.kill('SIGKILL');
    }
  });
});
