/**
 * A Linux driver that is unbound from its card and bound again, by a frontend that tells the switch
 * of neither (virtio_uml): the session goes on, and the next driver's rings are served. That driver
 * takes in-band notifications where they are offered.
 */

import { resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { prepareEngine } from '../../src/tiny/engine.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 60_000;
const times = 3;
const drivers = '/sys/bus/virtio/drivers/virtio_net';
let network: TinyNetwork | undefined;

afterEach(() => network?.close());

test.each([
  ['is kicked by eventfds and called by sockets', ''],
  ['is kicked and called by messages', 'in-band=on'],
])(
  `a driver that %s comes back ${times} times, and its guest is on the network each time`,
  {
    timeout: bootLimitMs + times * 4 * commandLimitMs,
  },
  async (_, portOptions) => {
    const engine = await prepareEngine('uml', 2);
    network = await TinyNetwork.create({
      machines: 2,
      engine,
      ...(portOptions && { portOptions }),
    });
    await network.startSwitch(resolve('dist/cli/main.js'));
    await Promise.all([network.boot(1, {}), network.boot(2, {})]);
    const run = (command: string) => network!.machines[0]!.shell.check(command, commandLimitMs);
    const ping = () => run(`ping -c 1 -W 30 ${network!.address(2)}`);
    await ping();
    for (let i = 0; i < times; i++) {
      await run(`echo virtio0 >${drivers}/unbind`);
      await run(`echo virtio0 >${drivers}/bind`);
      await run(`ip addr add ${network!.address(1)}/24 dev eth0 && ip link set eth0 up`);
      await ping();
    }
    const { switch: running } = network!;
    expect(running!.messages('frontend-left')).toEqual([]);
    expect(running!.messages('ring-broken')).toEqual([]);
  },
);
