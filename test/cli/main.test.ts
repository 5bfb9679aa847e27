/**
 * The command as its users run it: what it says, what it leaves behind, and how it ends, for every
 * wrong input it can be given.
 */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { TestGuest, VhostUserFrontend } from '../../src/testing/index.ts';
import { protocolFeatures } from '../../src/vhost-user/features.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { Command } from '../support/command.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { needs, needsRoot } from '../support/needs.ts';
import { expectSentence } from '../support/sentence.ts';

/** Cannot write where root can; 65534 is nobody everywhere. */
const nobody = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;
const groupMissing =
  isRoot && native().groupId('daemon') !== undefined ? undefined : 'needs root and a group daemon';
/** At once, on a busy host too. */
const soon = { timeout: 60_000 };

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cli-'));
  // For those who are not us.
  chmodSync(folder, 0o755);
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);

describe('asked about itself', () => {
  test('--version prints the version of the package and ends with 0', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    const exit = await Command.run(['--version']);
    expect(exit).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  // That it names the options of docs/cli.md, and no others, is in test/docs/pages.test.ts.
  test('--help says what it does and ends with 0', async () => {
    const exit = await Command.run(['--help']);
    expect(exit).toMatchObject({ status: 0, stderr: '' });
    expect(exit.stdout).toContain('--socket');
  });
});

describe('what cannot run is said in one sentence with the way out, and leaves nothing behind', () => {
  /** The good socket comes first, so that there is something to leave behind. */
  async function expectFailure(bad: readonly string[], pattern: RegExp, status = 1) {
    const before = readdirSync(folder);
    const exit = await Command.run(['--socket', socket('good'), ...bad]);
    expectSentence(exit, pattern);
    expect(exit.status).toBe(status);
    expect(readdirSync(folder)).toEqual(before);
  }

  test('a path of more than 107 bytes', async () => {
    const long = join(folder, `${'x'.repeat(107 - folder.length)}`);
    expect(long).toHaveLength(108);
    const sentence = /108 bytes, but .* at most 107; choose a shorter one/;
    await expectFailure(['--socket', long], sentence, 2);
  });

  test('a path of 107 bytes is not too long', async () => {
    const longest = join(folder, 'x'.repeat(106 - folder.length));
    expect(longest).toHaveLength(107);
    const command = await Command.start([longest]);
    expect(existsSync(longest)).toBe(true);
    expect((await command.stop()).status).toBe(0);
  });

  test('the same path twice, also spelled differently', async () => {
    const other = `${folder}/./good.sock`;
    const sentence = /is given twice; every port needs a socket of its own/;
    await expectFailure(['--socket', socket('good')], sentence, 2);
    await expectFailure(['--socket', other], sentence, 2);
  });

  test.each([
    ['no workers', ['--workers', '0'], /workers: 0 is not an integer from 1 to 64/],
    ['too many workers', ['--workers', '65'], /workers: 65 is not/],
    ['more CPUs than workers', ['--cpus', '0,1'], /2 CPUs for one worker; give at most one each/],
    ['a CPU number beyond all machines', ['--cpus', '1024'], /cpus: 1024 is not/],
    ['an idle time beyond all bounds', ['--idle-us', '9999999999'], /idleUs: 9999999999 is not/],
    ['an ageing time beyond all bounds', ['--ageing', '9999999999'], /ageingSeconds: 9999999999/],
  ])('%s', async (_, args, pattern) => {
    await expectFailure(args, pattern, 2);
  });

  test('a folder that does not exist', async () => {
    const missing = join(folder, 'missing');
    await expectFailure(
      ['--socket', join(missing, 'a.sock')],
      new RegExp(`${missing} does not exist; create it with \`mkdir -p ${missing}\``),
    );
  });

  test('a folder that is a file', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expectFailure(['--socket', join(folder, 'file', 'a.sock')], /is not a folder; choose/);
  });

  test('a regular file at the path, which stays', async () => {
    writeFileSync(socket('file'), 'precious');
    await expectFailure(['--socket', socket('file')], /a regular file is in the way; remove it or/);
    expect(readFileSync(socket('file'), 'utf8')).toBe('precious');
  });

  test('a folder or a symbolic link at the path', async () => {
    mkdirSync(socket('folder'));
    symlinkSync('/dev/null', socket('link'));
    await expectFailure(['--socket', socket('folder')], /a folder is in the way/);
    await expectFailure(['--socket', socket('link')], /a symbolic link is in the way/);
  });

  test('a socket that another switch listens on, which goes on', async () => {
    const other = await Command.start([socket('taken')]);
    try {
      await expectFailure(
        ['--socket', socket('taken')],
        new RegExp(`process ${other.pid} listens on it; stop that process or choose another`),
      );
      const guest = await TestGuest.connect({ path: socket('taken') });
      await guest.close();
    } finally {
      expect((await other.stop()).status).toBe(0);
    }
  });

  test('a socket that any other program listens on', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socket('taken'), resolve));
    await expectFailure(
      ['--socket', socket('taken')],
      new RegExp(`process ${process.pid} listens on it`),
    );
    await new Promise((resolve) => server.close(resolve));
  });

  test('a group that does not exist', async () => {
    await expectFailure(
      ['--socket-group', 'no-such-group'],
      /there is no group no-such-group; `getent group` lists/,
    );
  });

  test('a user that does not exist', async () => {
    await expectFailure(
      ['--socket', `${socket('x')},allow=no-such-user`],
      /there is no user no-such-user; `getent passwd` lists/,
    );
  });

  test('a CPU that is not there', async () => {
    await expectFailure(['--cpus', '1000'], /cannot run on CPUs 1000 \(allowed are \d[\d,-]*\)/);
  });

  test('a folder without permission', needsRoot, async () => {
    const exit = await Command.run(['--socket', socket('a')], nobody);
    expect(exit.status).toBe(1);
    expectSentence(exit, /user 65534 may not create or replace it in .*; choose a folder you may/);
  });

  test('a group one is not in', needsRoot, async () => {
    chmodSync(folder, 0o777);
    const exit = await Command.run(['--socket', socket('a'), '--socket-group', 'root'], nobody);
    expect(exit.status).toBe(1);
    expectSentence(exit, /may not give it to group root; join that group or run as root/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('sockets', () => {
  test('may have commas in their paths, written twice, and options behind them', async () => {
    const path = socket('a,b');
    const command = await Command.start(
      [],
      [
        '--socket',
        `${path.replaceAll(',', ',,')},mac=${macOf(0)},allow=:0,allow=${process.getuid!()}`,
      ],
    );
    await command.said(`listening on ${path}`);
    const guest = await TestGuest.connect({ path });
    await guest.send(ethernetFrame({ from: macOf(7), to: macOf(1) }));
    await command.said(`port a,b: dropped a frame from ${macOf(7)}, which it is not bound to`);
    await guest.close();
    expect((await command.stop()).stdout).toContain('dropped 1 spoofedMac');
  });

  test('are named in full, also where the command line has a relative path', async () => {
    const path = socket('a');
    const command = await Command.start([], ['--socket', relative(process.cwd(), path)]);
    await command.said(`listening on ${path}\n`);
    await command.stop();
  });

  test('offer in-band notifications where told to', async () => {
    const plain = socket('plain');
    const path = socket('in-band');
    const command = await Command.start([plain], ['--socket', `${path},in-band=on`]);
    await command.said(`listening on ${path}`);
    const { VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS } = protocolFeatures;
    for (const at of [plain, path]) {
      const frontend = VhostUserFrontend.connect({ path: at });
      const offered = await frontend.ask(
        'GET_PROTOCOL_FEATURES',
        emptyLayout,
        undefined,
        u64Layout,
      );
      frontend.close();
      expect((offered & VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) !== 0n).toBe(at === path);
    }
    await command.stop();
  });

  test('offer the reset of single queues where told to', async () => {
    const plain = socket('plain');
    const path = socket('resets');
    const command = await Command.start([plain], ['--socket', `${path},ring-reset=on`]);
    await command.said(`listening on ${path}`);
    const features = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_RESET'] as const;
    for (const at of [plain, path]) {
      await using guest = await TestGuest.connect({ path: at, features });
      expect(guest.has('VIRTIO_F_RING_RESET')).toBe(at === path);
    }
    await command.stop();
  });

  test('a stale socket file is replaced', async () => {
    const first = await Command.start([socket('a')]);
    await first.stop('SIGKILL');
    expect(statSync(socket('a')).isSocket()).toBe(true);
    const second = await Command.start([socket('a')]);
    await (await TestGuest.connect({ path: socket('a') })).close();
    expect((await second.stop()).status).toBe(0);
    expect(existsSync(socket('a'))).toBe(false);
  });

  test('have mode 660 and the group of the process, or what the options say', async () => {
    const plain = await Command.start([socket('a')]);
    expect(statSync(socket('a'))).toMatchObject({ gid: process.getgid!() });
    expect(statSync(socket('a')).mode & 0o7777).toBe(0o660);
    await plain.stop();
    const gid = isRoot ? 1 : process.getgid!();
    const chosen = await Command.start(
      [socket('a')],
      ['--socket-mode', '0606', '--socket-group', `${gid}`],
    );
    expect(statSync(socket('a'))).toMatchObject({ gid });
    expect(statSync(socket('a')).mode & 0o7777).toBe(0o606);
    await chosen.stop();
  });

  test('may be given to a group by name', needs(groupMissing), async () => {
    const command = await Command.start([socket('a')], ['--socket-group', 'daemon']);
    expect(statSync(socket('a')).gid).toBe(native().groupId('daemon'));
    await command.stop();
  });

  test('an unprivileged user can run it in a folder of their own', needsRoot, async () => {
    chmodSync(folder, 0o777);
    const command = await Command.start([socket('a')], [], nobody);
    expect(statSync(socket('a'))).toMatchObject(nobody);
    expect((await command.stop()).status).toBe(0);
  });
});

describe('the end', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s prints the counters of every port, removes the sockets and ends with 0',
    async (signal) => {
      const command = await Command.start([socket('a'), socket('b')]);
      const a = await TestGuest.connect({ path: socket('a') });
      const b = await TestGuest.connect({ path: socket('b') });
      await a.send(ethernetFrame({ from: macOf(0), to: macOf(1) }));
      await b.receive();
      await a.flush();
      const { status, stdout, stderr } = await command.stop(signal);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(/port a: process \d+ connected/);
      expect(stdout).toMatch(/port a: agreed on .*VIRTIO_F_VERSION_1/);
      expect(stdout).toContain(`port a: learned ${macOf(0)}`);
      expect(stdout).toContain(
        'port a: from guest 1 frames 60 bytes (1 flooded), to guest 0 frames',
      );
      expect(stdout).toContain(
        'port b: from guest 0 frames 0 bytes (0 flooded), to guest 1 frames',
      );
      expect(readdirSync(folder)).toEqual([]);
      a.disconnect();
      b.disconnect();
    },
  );

  test('--log-format json writes one object a line, counters included', async () => {
    const command = await Command.start([], ['--socket', socket('a'), '--log-format', 'json']);
    await command.said('"event":"listening"');
    const guest = await TestGuest.connect({ path: socket('a') });
    await guest.close();
    await command.said('"event":"frontend-left"');
    const { stdout } = await command.stop();
    const entries = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const entry of entries) {
      expect(entry).toMatchObject({
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        level: expect.stringMatching(/^(error|warn|info|debug)$/),
        event: expect.stringMatching(/^[a-z-]+$/),
        message: expect.stringMatching(/^[^\n]+$/),
      });
    }
    const counters = entries.filter(({ event }) => event === 'counters');
    expect(counters).toMatchObject([
      { port: 'a', fromGuest: { frames: 0 }, toGuest: { frames: 0 }, drops: { noBuffer: 0 } },
    ]);
  });

  test('does not come because nobody reads the log any more', async () => {
    const command = await Command.start([socket('a')]);
    command.stopReading();
    for (let i = 0; i < 3; i++) await (await TestGuest.connect({ path: socket('a') })).close();
    expect(await command.stop()).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('--log-level error says nothing of what goes well', async () => {
    const command = await Command.start([], ['--socket', socket('a'), '--log-level', 'error']);
    const guest = await vi.waitFor(() => TestGuest.connect({ path: socket('a') }), soon);
    await guest.close();
    expect(await command.stop()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });
});

describe('two machines that are silent', () => {
  /** What the worker thread is blocked in: number and arguments of the system call. */
  function systemCallOfWorker(pid: number): string[] {
    const tasks = `/proc/${pid}/task`;
    const worker = readdirSync(tasks).find(
      (id) => readFileSync(join(tasks, id, 'comm'), 'utf8') === 'tsvswitch-work\n',
    );
    return readFileSync(join(tasks, worker!, 'syscall'), 'utf8')
      .trim()
      .split(' ');
  }

  /** Position of the timeout among number and arguments of epoll_wait and epoll_pwait. */
  const timeoutAt = 4;

  test('leave the worker asleep until somebody wakes it', async () => {
    const command = await Command.start([socket('a'), socket('b')]);
    const a = await TestGuest.connect({ path: socket('a') });
    const b = await TestGuest.connect({ path: socket('b') });
    for (let number = 0; number < 3; number++) {
      await a.send(ethernetFrame({ from: macOf(0), to: macOf(1), number }));
      await b.receive();
      await a.flush();
      // No time limit: a worker blocked so uses nothing at all, for however long.
      await vi.waitFor(
        () => expect(Number(systemCallOfWorker(command.pid)[timeoutAt]) & 0xffff_ffff).toBe(-1),
        soon,
      );
    }
    await a.close();
    await b.close();
    await command.stop();
  });
});
