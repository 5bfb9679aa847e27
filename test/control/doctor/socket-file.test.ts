/** socket-file.ts: who may connect, from the file, its folders and the accounts of a host. */

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSocketFile } from '../../../src/control/doctor/socket-file.ts';
import { FdListener } from '../../../src/native/fd-socket.ts';

const uid = process.getuid!();
const gid = process.getgid!();
const strangerId = 64_055;

let folder: string;
let socket: string;
let listener: FdListener;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'socket-'));
  chmodSync(folder, 0o755);
  socket = join(folder, 'web.sock');
  listener = FdListener.listen(socket);
  writeFileSync(join(folder, 'passwd'), `me:x:${uid}:${gid}:Me,,,:/:/bin/sh\n`);
  writeFileSync(join(folder, 'group'), `mine:x:${gid}:\n`);
});

afterEach(() => {
  listener.close();
  rmSync(folder, { recursive: true });
});

const read = () => readSocketFile(socket, folder);

function addAccount(name: string, group = strangerId): void {
  const line = `${name}:x:${strangerId}:${group}::/:/bin/false\n`;
  writeFileSync(join(folder, 'passwd'), line, { flag: 'a' });
}

test('the owner, the group and the permissions are those of the file', () => {
  expect(read()).toEqual({ mode: 0o660, user: 'me', group: 'mine', keptOut: [] });
});

test('accounts that are not known are shown by number', () => {
  writeFileSync(join(folder, 'passwd'), '');
  writeFileSync(join(folder, 'group'), '# nobody here\n');
  expect(read()).toMatchObject({ user: `${uid}`, group: `${gid}` });
});

test('what is no socket, or not there, is nothing', () => {
  expect(readSocketFile(folder)).toBeUndefined();
  expect(readSocketFile(`${socket}.not`)).toBeUndefined();
});

describe('the user of libvirt', () => {
  test('is kept out where it is not in the group', () => {
    addAccount('libvirt-qemu');
    expect(read()!.keptOut).toEqual(['libvirt-qemu']);
  });

  test("is let in by its own group, by one it is a member of, and by everybody's rights", () => {
    addAccount('qemu', gid);
    expect(read()!.keptOut).toEqual([]);
    writeFileSync(join(folder, 'passwd'), '');
    addAccount('qemu');
    expect(read()!.keptOut).toEqual(['qemu']);
    writeFileSync(join(folder, 'group'), `mine:x:${gid}:other,qemu\n`);
    expect(read()!.keptOut).toEqual([]);
    chmodSync(socket, 0o606);
    expect(read()!.keptOut).toEqual(['qemu']);
    writeFileSync(join(folder, 'group'), '');
    expect(read()!.keptOut).toEqual([]);
  });

  test('is not the only one who may be kept out, but the only one told of', () => {
    addAccount('somebody');
    expect(read()!.keptOut).toEqual([]);
  });
});

describe('a folder on the way', () => {
  function inside(mode: number): string {
    const closed = join(folder, 'closed');
    mkdirSync(closed);
    listener.close();
    socket = join(closed, 'web.sock');
    listener = FdListener.listen(socket, { mode });
    return closed;
  }

  test('that lets nobody pass is named if the socket is for everybody', () => {
    const closed = inside(0o666);
    chmodSync(closed, 0o700);
    expect(read()!.closedFolder).toBe(closed);
    chmodSync(closed, 0o711);
    expect(read()).not.toHaveProperty('closedFolder');
  });

  test("is the owner's own business if the group is the owner's own", () => {
    chmodSync(inside(0o660), 0o700);
    expect(read()).not.toHaveProperty('closedFolder');
  });

  test("is named if another group than the owner's may not pass", () => {
    const closed = inside(0o660);
    writeFileSync(join(folder, 'passwd'), `me:x:${uid}:${strangerId}::/:/bin/sh\n`);
    chmodSync(closed, 0o700);
    expect(read()!.closedFolder).toBe(closed);
    chmodSync(closed, 0o710);
    expect(read()).not.toHaveProperty('closedFolder');
  });
});
