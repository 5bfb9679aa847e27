/**
 * Who may be a port's frontend. This process cannot be another user, so the list is of others
 * instead: what the kernel says of a peer is the same either way.
 */

import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PortOptions } from '../../../src/index.ts';
import { AllowList } from '../../../src/port/vhost-user/allow.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { frameBetween } from '../../support/ethernet.ts';
import { expectDelivery, SwitchNetwork } from '../../support/network.ts';

const uid = process.getuid!();
const gid = process.getgid!();
/** The name of our group, as /etc/group has it. */
const group = readFileSync('/etc/group', 'utf8')
  .split('\n')
  .map((line) => line.split(':'))
  .find(([, , number]) => number === `${gid}`)?.[0];

let network: SwitchNetwork;

beforeEach(() => {
  network = SwitchNetwork.open(1);
});

afterEach(() => network.close());

function addPort(allow: unknown): void {
  network.vswitch.addPort({ path: network.path(1), allow } as PortOptions);
}

test.each<[string, (string | number)[]]>([
  ['its user by number', [uid]],
  ['its user by number as text', ['1', `${uid}`]],
  ['its user by name', [userInfo().username]],
  ['its group by number', [uid + 1, `:${gid}`]],
  ...(group === undefined ? [] : ([['its group by name', [`:${group}`]]] as [string, string[]][])),
])('a process is let in that is listed as %s', async (_, allow) => {
  addPort(allow);
  const [a, b] = await network.connectAll();
  await expectDelivery(a!, b!, [frameBetween(0, 1, 1)]);
  expect(network.eventsOf('frontend-refused')).toEqual([]);
});

test('a group counts that is not the first of a process', () => {
  const list = new AllowList('port p1', [':4242']);
  const peer = { pid: 1, uid: 1, gid: 1 };
  expect(list.admits({ ...peer, groups: [7, 4242] })).toBe(true);
  expect(list.admits({ ...peer, groups: [7] })).toBe(false);
});

test('a process that is not listed is refused, and told by its uid, gid and pid', async () => {
  addPort([uid + 1, `:${gid + 1}`]);
  await expect(TestGuest.connect({ path: network.path(1) })).rejects.toThrow(
    expect.objectContaining({ code: 'DISCONNECTED' }),
  );
  expect(await network.event('frontend-refused')).toEqual({
    type: 'frontend-refused',
    port: 'p1',
    code: 'FRONTEND_REFUSED',
    fault: 'frontend-not-allowed',
    parameters: { pid: process.pid, uid, gid, allowed: expect.any(String) },
    sentence:
      `port p1: refused process ${process.pid} (uid ${uid}, gid ${gid}): ` +
      `only uid ${uid + 1}, gid ${gid + 1} may connect; start the machine as one of them, or allow it too`,
  });
  expect(network.eventsOf('frontend-connected')).toEqual([]);
});

test('a process that tries again and again is told of once', async () => {
  addPort([uid + 1]);
  for (let i = 0; i < 5; i++) {
    await expect(TestGuest.connect({ path: network.path(1) })).rejects.toThrow();
  }
  expect(network.eventsOf('frontend-refused')).toHaveLength(1);
});

test('a machine that listens is refused as one that connects is, and told of once', async () => {
  const path = join(network.path(1));
  network.vswitch.addPort({ connect: path, allow: [uid + 1] });
  const refused = TestGuest.listen({ path });
  await expect(refused).rejects.toThrow(expect.objectContaining({ code: 'DISCONNECTED' }));
  expect(await network.event('frontend-refused')).toMatchObject({
    fault: 'frontend-not-allowed',
    parameters: { pid: process.pid, uid, gid },
  });
  await expect(TestGuest.listen({ path })).rejects.toThrow();
  expect(network.eventsOf('frontend-refused')).toHaveLength(1);
});

describe('a list that cannot be is one sentence, and leaves nothing behind', () => {
  test.each<[string, unknown, string, RegExp]>([
    ['nobody', [], 'BAD_OPTION', /allow lists nobody; leave it out/],
    ['no list', 'root', 'BAD_OPTION', /allow lists nobody/],
    [
      'an empty name',
      [''],
      'BAD_OPTION',
      /allow names ""; a user such as qemu or 1000 was expected/,
    ],
    ['a group without a name', [':'], 'BAD_OPTION', /allow names ":"/],
    ['a name with a line end', ['a\nb'], 'BAD_OPTION', /allow names "a\\nb"/],
    ['null', [null], 'BAD_OPTION', /allow names null/],
    ['a number below 0', [-1], 'SOCKET_USER_UNKNOWN', /no user -1; `getent passwd` lists/],
    ['a number beyond all', [2 ** 32], 'SOCKET_USER_UNKNOWN', /no user 4294967296/],
    ['a user unknown', ['no-such-user'], 'SOCKET_USER_UNKNOWN', /there is no user no-such-user;/],
    [
      'a group unknown',
      [':no-such'],
      'SOCKET_GROUP_UNKNOWN',
      /there is no group no-such; `getent group`/,
    ],
  ])('%s', (_, allow, code, message) => {
    expect(() => addPort(allow)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
    expect(network.vswitch.ports).toHaveLength(1);
  });

  test('for a dgram port', () => {
    const options = { dgram: network.path(1), peer: network.path(2), allow: [uid] };
    expect(() => network.vswitch.addPort(options)).toThrow(
      expect.objectContaining({
        code: 'BAD_OPTION',
        message: expect.stringMatching(/a dgram port has no allow: .*a mode says who/),
      }),
    );
    expect(network.vswitch.ports).toHaveLength(1);
  });
});
