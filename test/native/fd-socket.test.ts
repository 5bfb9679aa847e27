/**
 * fd-socket.ts with real sockets, files and fds: who gets a path, what an operator is told when
 * nobody can, and that bytes and fds arrive together.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ErrorCode, TsvswitchError } from '../../src/model/errors.ts';
import { native } from '../../src/native/addon.ts';
import { FdListener, FdSocket, type Received } from '../../src/native/fd-socket.ts';

let folder: string;
let closing: { close(): void }[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fd-socket-'));
  closing = [];
});

afterEach(() => {
  for (const one of closing) one.close();
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true });
});

function closeLater<T extends { close(): void }>(one: T): T {
  closing.push(one);
  return one;
}

function listen(path: string, options = {}): FdListener {
  return closeLater(FdListener.listen(path, options));
}

function listenError(path: string, options = {}): TsvswitchError {
  try {
    listen(path, options);
  } catch (error) {
    if (error instanceof TsvswitchError) return error;
    throw error;
  }
  throw new Error(`listening on ${path} succeeded`);
}

function expectRefusal(error: TsvswitchError, code: ErrorCode, words: RegExp): void {
  expect(error.code).toBe(code);
  expect(error.message).toMatch(words);
}

function nextConnection(listener: FdListener): Promise<FdSocket> {
  return new Promise((resolve, reject) => {
    listener.onConnection((socket) => resolve(closeLater(socket)), reject);
  });
}

async function connectedPair(): Promise<[FdSocket, FdSocket]> {
  const listener = listen(join(folder, 's'));
  const accepted = nextConnection(listener);
  const client = closeLater(FdSocket.connect(listener.path));
  return [client, await accepted];
}

async function receive(socket: FdSocket, maxBytes = 4096): Promise<Received | 'end'> {
  const now = socket.receive(maxBytes);
  if (now !== 'would-block') return now;
  await new Promise<void>((resolve) => socket.onReadable(resolve));
  const then = socket.receive(maxBytes);
  if (then === 'would-block') throw new Error('called back with nothing to receive');
  return then;
}

/** Runs `action` with the rights of a user who owns nothing here, where that is possible. */
function asNobody<T>(action: () => T): T {
  if (process.getuid?.() !== 0) return action();
  process.setegid?.(65534);
  process.seteuid?.(65534);
  try {
    return action();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

function openFds(): string[] {
  return readdirSync('/proc/self/fd');
}

describe('taking a path', () => {
  test('a path of 107 bytes works and one of 108 does not, counted in bytes', () => {
    const room = 107 - Buffer.byteLength(`${folder}/`);
    expect(existsSync(listen(join(folder, 'x'.repeat(room))).path)).toBe(true);
    const error = listenError(join(folder, 'ä'.repeat(Math.ceil((room + 1) / 2))));
    expectRefusal(error, 'SOCKET_PATH_TOO_LONG', /has 10[89] bytes.* at most 107;/);
  });

  test('an empty path is a bad option', () => {
    expect(listenError('').code).toBe('BAD_OPTION');
  });

  test('a missing folder is named, with the command that makes it', () => {
    const error = listenError(join(folder, 'none', 's'));
    expectRefusal(error, 'SOCKET_FOLDER_MISSING', /none does not exist; create it with `mkdir -p /);
  });

  test('a file where the folder should be is said to be no folder', () => {
    writeFileSync(join(folder, 'file'), '');
    expectRefusal(
      listenError(join(folder, 'file', 's')),
      'SOCKET_FOLDER_MISSING',
      /file is not a folder;/,
    );
  });

  test('a folder without write permission is a permission error', () => {
    chmodSync(folder, 0o555);
    const error = asNobody(() => listenError(join(folder, 's')));
    expectRefusal(error, 'SOCKET_NO_PERMISSION', /may not create or replace it in /);
  });

  test.each([
    ['a regular file', (path: string) => writeFileSync(path, 'precious')],
    ['a folder', (path: string) => mkdirSync(path)],
    ['a symbolic link', (path: string) => symlinkSync('/nowhere', path)],
  ])('%s in the way is left alone and named', (kind, make) => {
    const path = join(folder, 's');
    make(path);
    expectRefusal(listenError(path), 'SOCKET_NOT_A_SOCKET', new RegExp(`: ${kind} is in the way;`));
    expect(readdirSync(folder)).toEqual(['s']);
  });

  test('the live socket of another process is left alone and its process named', async () => {
    const path = join(folder, 's');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const other = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(other, 'exit');
    try {
      await once(other.stdout!, 'data');
      const error = listenError(path);
      expectRefusal(error, 'SOCKET_IN_USE', new RegExp(`process ${other.pid} listens on it;`));
      closeLater(FdSocket.connect(path));
    } finally {
      other.kill('SIGKILL');
      await exited;
    }
  });

  test('a path that this process listens on already is in use', () => {
    const { path } = listen(join(folder, 's'));
    expectRefusal(listenError(path), 'SOCKET_IN_USE', /this process already listens on it;/);
  });

  test('a live socket whose backlog is full is in use', () => {
    const { path } = listen(join(folder, 's'));
    let refused: unknown;
    for (let i = 0; i < 64 && refused === undefined; i++) {
      try {
        closeLater(FdSocket.connect(path));
      } catch (error) {
        refused = error;
      }
    }
    expect(refused).toMatchObject({ code: 'SYSTEM' });
    expectRefusal(listenError(path), 'SOCKET_IN_USE', /full backlog/);
  });

  test('a socket file that a dead process left behind is replaced', async () => {
    const stale = join(folder, 'stale');
    const dead = FdListener.listen(join(folder, 's'));
    linkSync(dead.path, stale);
    dead.close();
    expect(statSync(stale).isSocket()).toBe(true);
    const accepted = nextConnection(listen(stale));
    closeLater(FdSocket.connect(stale));
    expect((await accepted).closed).toBe(false);
  });

  test('a listener can be given other permissions, and its own group again', () => {
    const listener = listen(join(folder, 's'), { mode: 0o660 });
    listener.prepareAccess({ mode: 0o600 })();
    expect(statSync(listener.path)).toMatchObject({ gid: process.getegid!() });
    expect(statSync(listener.path).mode & 0o777).toBe(0o600);
    const prepared = () => listener.prepareAccess({ mode: 0o660, group: 'no-such-group' });
    expect(prepared).toThrow(expect.objectContaining({ code: 'SOCKET_GROUP_UNKNOWN' }));
    rmSync(listener.path);
    expect(() => listener.prepareAccess({})).toThrow(/its file is gone, .* open the port anew$/);
  });

  test('a listener that rests delivers nothing, and then all who connected meanwhile', async () => {
    const listener = listen(join(folder, 's'));
    const early: FdSocket[] = [];
    listener.onConnection(
      (socket) => early.push(closeLater(socket)),
      () => {},
    );
    listener.rest();
    closeLater(FdSocket.connect(listener.path));
    const late = await nextConnection(listener);
    expect(late.closed).toBe(false);
    expect(early).toEqual([]);
  });

  test('a failed listen leaves neither file nor fd', () => {
    const before = openFds();
    expect(asNobody(() => listenError('/proc/self/s')).code).toMatch(/^SOCKET_|^SYSTEM$/);
    if (process.getuid?.() === 0) {
      chmodSync(folder, 0o777);
      const error = asNobody(() => listenError(join(folder, 's'), { group: 0 }));
      expectRefusal(error, 'SOCKET_NO_PERMISSION', /may not give it to group 0;/);
    }
    expect(readdirSync(folder)).toEqual([]);
    expect(openFds()).toEqual(before);
  });
});

describe('who may connect', () => {
  test('the mode is 0660 unless given, whatever the umask', () => {
    const umask = process.umask(0o177);
    try {
      expect(statSync(listen(join(folder, 'a')).path).mode & 0o777).toBe(0o660);
      expect(statSync(listen(join(folder, 'b'), { mode: 0o606 }).path).mode & 0o777).toBe(0o606);
    } finally {
      process.umask(umask);
    }
  });

  test('a mode outside 0 to 0777 is a bad option', () => {
    expect(listenError(join(folder, 's'), { mode: 0o1777 }).code).toBe('BAD_OPTION');
  });

  test('the group is set by name and by number', () => {
    // Root may give a file away to any group; others only to their own.
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .map((text) => text.split(':'))
      .find(([, , gid]) => Number(gid) === (process.getuid?.() === 0 ? 1 : process.getgid?.()));
    const [name, gid] = [line![0]!, Number(line![2])];
    expect(statSync(listen(join(folder, 'a'), { group: name }).path).gid).toBe(gid);
    expect(statSync(listen(join(folder, 'b'), { group: gid }).path).gid).toBe(gid);
  });

  test('an unknown group is named', () => {
    const error = listenError(join(folder, 's'), { group: 'no-such-group' });
    expectRefusal(error, 'SOCKET_GROUP_UNKNOWN', /there is no group no-such-group;/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('closing a listener', () => {
  test('removes the file, and a second close does nothing', () => {
    const listener = listen(join(folder, 's'));
    listener.close();
    listener.close();
    expect(readdirSync(folder)).toEqual([]);
    expect(() =>
      listener.onConnection(
        () => {},
        () => {},
      ),
    ).toThrow(/is closed/);
  });

  test('leaves a file that somebody else has put there', () => {
    const listener = listen(join(folder, 's'));
    const usurper = listen(join(folder, 't'));
    renameSync(usurper.path, listener.path);
    listener.close();
    expect(readdirSync(folder)).toEqual(['s']);
  });
});

describe('a connection', () => {
  test('carries bytes both ways', async () => {
    const [client, server] = await connectedPair();
    client.send(Buffer.from('ping'));
    expect(await receive(server)).toMatchObject({ bytes: Buffer.from('ping'), fds: [] });
    server.send(Buffer.from('pong'));
    expect(await receive(client)).toMatchObject({ bytes: Buffer.from('pong'), fds: [] });
  });

  test('delivers fds with the bytes they were sent with, as new close-on-exec fds', async () => {
    const [client, server] = await connectedPair();
    const memory = native().memfdCreate('test', 8192);
    const event = native().eventfdCreate();
    client.send(Buffer.from('plain'));
    client.send(Buffer.from('with'), [memory, event]);

    const first = await receive(server, 5);
    expect(first).toMatchObject({ bytes: Buffer.from('plain'), fds: [] });
    const second = (await receive(server)) as Received;
    expect(second.bytes.toString()).toBe('with');
    expect(second.fds).toHaveLength(2);
    const [memoryHere, eventHere] = second.fds as [number, number];
    expect(fstatSync(memoryHere).ino).toBe(fstatSync(memory).ino);
    for (const fd of second.fds) {
      // O_CLOEXEC is 02000000 in octal.
      const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
      expect(Number.parseInt(flags![1]!, 8) & 0o2000000).toBe(0o2000000);
    }
    native().eventfdSignal(event);
    expect(native().eventfdDrain(eventHere)).toBe(1);
    for (const fd of [memory, event, ...second.fds]) native().closeFd(fd);
  });

  test('more fds than are ever wanted are closed and the surplus reported', async () => {
    const [client, server] = await connectedPair();
    const event = native().eventfdCreate();
    const before = openFds().length;
    client.send(Buffer.from('x'), Array(100).fill(event));
    const { fds, fdsTruncated } = (await receive(server)) as Received;
    expect(fdsTruncated).toBe(true);
    expect(fds).toHaveLength(32);
    for (const fd of fds) native().closeFd(fd);
    expect(openFds()).toHaveLength(before);
    native().closeFd(event);
  });

  test('ends when the peer closes, also with bytes unread on the other side', async () => {
    const [client, server] = await connectedPair();
    server.send(Buffer.from('never read'));
    client.close();
    expect(await receive(server)).toBe('end');
    expect(() => server.send(Buffer.from('x'))).toThrow(TsvswitchError);
  });

  test('sending to a peer that does not read fails instead of waiting', async () => {
    const [client] = await connectedPair();
    const chunk = Buffer.alloc(65536);
    expect(() => {
      for (let i = 0; i < 1024; i++) client.send(chunk);
    }).toThrow(/the peer does not read: \d+ of 65536 bytes could be sent/);
  });

  test('names its peer', async () => {
    const [client] = await connectedPair();
    expect(client.peer).toMatchObject({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
  });

  test('is of no use once closed, and a second close does nothing', async () => {
    const [client] = await connectedPair();
    client.close();
    client.close();
    expect(client.closed).toBe(true);
    expect(() => client.receive(1)).toThrow(/closed/);
    expect(() => client.send(Buffer.from('x'))).toThrow(/closed/);
  });

  test('connecting where nobody listens is an error that names the path', () => {
    expect(() => FdSocket.connect(join(folder, 'nobody'))).toThrow(/nobody: No such file/);
  });
});

describe('accepting', () => {
  test('goes on after fds ran out, and says so once', async () => {
    const listener = listen(join(folder, 's'));
    const errors: TsvswitchError[] = [];
    let accepted!: Promise<FdSocket>;
    const failed = new Promise<void>((resolveFailed) => {
      accepted = new Promise((resolve) => {
        listener.onConnection(resolve, (error) => {
          errors.push(error);
          resolveFailed();
        });
      });
    });
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    closeLater(FdSocket.connect(listener.path));
    // Fills the table, so that accept4 fails with EMFILE for a connection that keeps waiting.
    const filler: number[] = [];
    try {
      for (let i = 0; i < Number(limit![1]); i++) filler.push(native().eventfdCreate());
    } catch (error) {
      expect(error).toMatchObject({ code: 'SYSTEM' });
    }
    await failed;
    for (const fd of filler) native().closeFd(fd);
    closeLater(await accepted);
    expect(errors).toHaveLength(1);
    expect(errors[0]!.cause).toMatchObject({ syscall: 'accept4' });
  });
});
