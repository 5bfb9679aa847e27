/**
 * The service under a real systemd, with its unit as it is shipped: it starts when its ports
 * listen, works behind all that the unit takes away, comes back when it is killed or hangs, and is
 * started by who connects.
 */

import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { TestGuest } from '../../../src/testing/index.ts';
import { frameBetween, numberOf } from '../../support/ethernet.ts';
import { needs } from '../../support/needs.ts';
import { StoppedThread, workerThreads } from '../../support/stopped-thread.ts';
import { Systemd, systemdIsMissing } from '../../support/systemd.ts';

const service = 'tsvswitch.service';
const ports = ['a', 'b'].map((name) => `  ${name}: { path: /run/vsw/${name}.sock }\n`);

describe('under systemd', needs(systemdIsMissing()), () => {
  let folder: string;
  let systemd: Systemd;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'systemd-'));
    systemd = await Systemd.boot(folder);
    declare(ports);
  });

  afterEach(() => StoppedThread.releaseAll());

  afterAll(async () => {
    await systemd?.stop();
    rmSync(folder, { recursive: true });
  });

  function declare(of: readonly string[], more = ''): void {
    const path = systemd.path('/etc/tsvswitch');
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'tsvswitch.yaml'), `workers: 2\n${more}ports:\n${of.join('')}`);
  }

  const guest = (name: string) =>
    TestGuest.connect({ path: systemd.path(`/run/vsw/${name}.sock`) });

  async function expectFrames(from: TestGuest, to: TestGuest): Promise<void> {
    for (let number = 0; number < 5; number++) {
      await from.send(frameBetween(0, 1, number));
      expect(numberOf(await to.receive())).toBe(number);
    }
  }

  const journal = (...args: readonly string[]) =>
    systemd.run(['journalctl', '--no-pager', '--output=cat', `--unit=${service}`, ...args]);

  test('it is started when its ports listen, and forwards behind all hardening', async () => {
    await systemd.systemctl('start', service);
    expect(await systemd.show(service, 'ActiveState')).toBe('active');
    expect(await systemd.show(service, 'StatusText')).toBe('2 ports, 0 connected');
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
    await vi.waitFor(
      async () => expect(await systemd.show(service, 'StatusText')).toBe('2 ports, 2 connected'),
      60_000,
    );
    const status = readFileSync(`/proc/${await systemd.mainPid(service)}/status`, 'utf8');
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^CapBnd:\t0+$/m);
    expect(status).not.toMatch(/^Uid:\t0\t/m);
  });

  test('the command asks it, and the journal has its lines by priority', async () => {
    const doctor = await systemd.run(['tsvswitch', 'doctor', '--json'], false);
    expect(JSON.parse(doctor)).toBeDefined();
    expect(await journal()).toContain('port a: listening on /run/vsw/a.sock\n');
    const stranger = await systemd.run(
      ['node', '-e', "require('net').connect('/run/vsw/a.sock').write('x'.repeat(12))"],
      false,
    );
    expect(stranger).toBe('');
    await vi.waitFor(
      async () => expect(await journal('--priority=warning')).toMatch(/^port a: .*closed$/m),
      60_000,
    );
    expect(await journal('--priority=warning')).not.toContain('listening');
  });

  test('it is changed with its file while frames go on, and not by one with a mistake', async () => {
    await using a = await guest('a');
    await using b = await guest('b');
    const pid = await systemd.mainPid(service);
    declare([...ports, '  c: { path: /run/vsw/c.sock }\n']);
    await systemd.systemctl('reload', service);
    expect(await systemd.show(service, 'ActiveState')).toBe('active');
    await using _ = await guest('c');
    declare(ports, 'idleUs: soon\n');
    await expect(systemd.systemctl('reload', service)).rejects.toThrow();
    const place = '/etc/tsvswitch/tsvswitch.yaml:2:9: idleUs: must be a whole number, not "soon"';
    expect(await journal('--priority=err')).toContain(place);
    expect(await systemd.run(['ls', '/run/vsw'])).toBe('a.sock\nb.sock\nc.sock');
    declare(ports);
    await systemd.systemctl('reload', service);
    expect(await systemd.run(['ls', '/run/vsw'])).toBe('a.sock\nb.sock');
    await expectFrames(a, b);
    expect(await systemd.mainPid(service)).toBe(pid);
  });

  test('what is changed over its control socket outlives it', async () => {
    const control = '/run/tsvswitch/control.sock';
    const post = ['curl', '--fail', '--unix-socket', control, 'http://localhost/v1/ports', '-d'];
    await systemd.run([...post, '{"path":"/run/vsw/d.sock"}']);
    await systemd.systemctl('restart', service);
    expect(await systemd.run(['ls', '/run/vsw'])).toBe('a.sock\nb.sock\nd.sock');
    await systemd.run(['tsvswitch', 'reload', '--discard']);
    expect(await systemd.run(['ls', '/run/vsw'])).toBe('a.sock\nb.sock');
  });

  test('it is restarted when it is killed; its sockets were there all the time', async () => {
    const socket = systemd.path('/run/vsw/a.sock');
    const before = statSync(socket).ino;
    const restarts = Number(await systemd.show(service, 'NRestarts'));
    process.kill(await systemd.mainPid(service), 'SIGKILL');
    // Whether there is a switch at this moment or not.
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
    expect(statSync(socket).ino).toBe(before);
    expect(await systemd.show(service, 'NRestarts')).toBe(`${restarts + 1}`);
    // Two ports and the control socket, and two for each guest.
    expect(await systemd.show(service, 'NFileDescriptorStore')).toBe('7');
  });

  test('guests that are connected stay so when it is killed, and when it is restarted', async () => {
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
    for (const restart of [
      async () => process.kill(await systemd.mainPid(service), 'SIGKILL'),
      () => systemd.systemctl('restart', service),
    ]) {
      const pid = await systemd.mainPid(service);
      await restart();
      await vi.waitFor(async () => {
        expect(await systemd.show(service, 'StatusText')).toBe('2 ports, 2 connected');
        expect(await systemd.mainPid(service)).not.toBe(pid);
      }, 60_000);
      // What the last worker had not handed back may come again.
      await b.send(frameBetween(1, 0, 7));
      while (numberOf(await a.receive()) !== 7);
      await a.send(frameBetween(0, 1, 8));
      while (numberOf(await b.receive()) !== 8);
    }
  });

  test('a new process becomes the main one of the unit, behind the same hardening', async () => {
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
    const restarts = await systemd.show(service, 'NRestarts');
    const said = ['Name', 'Uid', 'NoNewPrivs', 'CapBnd', 'Seccomp'];
    const factsOf = async () => {
      const pid = await systemd.mainPid(service);
      const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
      const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
      const kept = lines.filter((line) => said.some((name) => line.startsWith(`${name}:`)));
      return { pid, like: [...kept, cgroup, limits, readlinkSync(`/proc/${pid}/ns/mnt`)] };
    };
    const before = await factsOf();
    for (let time = 0; time < 2; time++) {
      expect(await systemd.run(['tsvswitch', 'upgrade'])).toContain('2 machines stayed connected');
      await expectFrames(a, b);
    }
    const after = await factsOf();
    expect(after.pid).not.toBe(before.pid);
    expect(after.like).toEqual(before.like);
    expect(await systemd.show(service, 'StatusText')).toBe('2 ports, 2 connected');
    expect(await systemd.show(service, 'NFileDescriptorStore')).toBe('7');
    expect(await systemd.show(service, 'NRestarts')).toBe(restarts);
    // systemd notices its end, and its sessions lie in the store.
    process.kill(after.pid, 'SIGKILL');
    await vi.waitFor(async () => {
      expect(await systemd.show(service, 'StatusText')).toBe('2 ports, 2 connected');
      expect(await systemd.mainPid(service)).not.toBe(after.pid);
    }, 60_000);
    await a.send(frameBetween(0, 1, 8));
    while (numberOf(await b.receive()) !== 8);
    expect(await systemd.show(service, 'NRestarts')).toBe(`${Number(restarts) + 1}`);
  });

  test('it is restarted when one of its workers hangs', async () => {
    await systemd.dropIn(service, '[Service]\nWatchdogSec=2\n');
    await systemd.systemctl('restart', service);
    const pid = await systemd.mainPid(service);
    const stopped = await StoppedThread.stop(workerThreads(pid)[1]!);
    await vi.waitFor(
      async () => expect(await journal('--priority=err')).toContain('worker 1 makes no rounds'),
      60_000,
    );
    await vi.waitFor(
      async () => expect(await systemd.show(service, 'Result')).toBe('watchdog'),
      60_000,
    );
    // Until then the kernel keeps the process for who stopped it.
    await stopped.release();
    await vi.waitFor(async () => {
      expect(await systemd.show(service, 'ActiveState')).toBe('active');
      expect(await systemd.mainPid(service)).not.toBe(pid);
    }, 60_000);
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
  });

  test('it ends, and leaves no socket', async () => {
    await systemd.systemctl('stop', service);
    expect(await systemd.show(service, 'Result')).toBe('success');
    expect(await systemd.run(['ls', '/run/vsw', '/run/tsvswitch'])).toBe(
      '/run/tsvswitch:\n\n/run/vsw:',
    );
  });

  test('socket units start it: of a port, and of the control socket', async () => {
    await systemd.systemctl('start', 'tsvswitch-port@a.socket', 'tsvswitch.socket');
    expect(await systemd.show(service, 'ActiveState')).toBe('inactive');
    await using a = await guest('a');
    await using b = await guest('b');
    await expectFrames(a, b);
    expect(await systemd.show(service, 'ActiveState')).toBe('active');
    // That of port b, which no unit made, and two for each guest.
    expect(await systemd.show(service, 'NFileDescriptorStore')).toBe('5');
    // The units' own sockets stay.
    await systemd.systemctl('stop', service);
    expect(await systemd.run(['ls', '/run/vsw', '/run/tsvswitch'])).toBe(
      '/run/tsvswitch:\ncontrol.sock\n\n/run/vsw:\na.sock',
    );
    expect(await systemd.run(['tsvswitch', 'doctor', '--json'], false)).toContain('"a"');
    expect(await systemd.show(service, 'ActiveState')).toBe('active');
  });

  test('a setting that cannot be is one line of the journal, and no restarts without end', async () => {
    await systemd.systemctl('stop', service, 'tsvswitch.socket', 'tsvswitch-port@a.socket');
    declare(ports, 'wrokers: 2\n');
    await expect(systemd.systemctl('start', service)).rejects.toThrow(/failed/);
    expect(await journal('--priority=err')).toContain(
      'tsvswitch: /etc/tsvswitch/tsvswitch.yaml:2:1: wrokers: there is no such key; ' +
        'did you mean workers?',
    );
    expect(await systemd.show(service, 'ActiveState')).toBe('failed');
  });
});
