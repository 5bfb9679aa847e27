/**
 * Linux kernels with packed and with split rings, and an MTU that the switch tells them: what their
 * own driver makes of both, in pings of the largest packet and in TCP.
 *
 * A kernel agrees on packed rings where they are offered; from the one with split rings they are
 * kept (feature-relay.ts).
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Switch, type SwitchEvent } from '../../src/index.ts';
import { FeatureRelay } from '../../src/testing/feature-relay.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';
import { linuxEngine } from '../support/linux-guests.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 120_000;
const mtuBytes = 9000;
/** Of IPv4 and ICMP. */
const headersBytes = 28;
const machines = ['packed', 'packed', 'split'] as const;
const numbers = Array.from(machines.keys(), (index) => index + 1);

let network: TinyNetwork;
let vswitch: Switch;
const relays: FeatureRelay[] = [];
const events: SwitchEvent[] = [];

beforeAll(async () => {
  const engine = await linuxEngine(machines.length);
  network = await TinyNetwork.create({ machines: machines.length, engine });
  vswitch = Switch.open();
  vswitch.on('event', (event) => events.push(event));
  await Promise.all(
    numbers.map((number) => {
      const backend = network.portSocket(number);
      vswitch.addPort({ path: backend, mtu: mtuBytes });
      if (machines[number - 1] === 'packed') return network.boot(number);
      const socket = join(network.folder, `relay${number}`);
      relays.push(FeatureRelay.open({ path: socket, backend, withheld: ['VIRTIO_F_RING_PACKED'] }));
      return network.boot(number, { socket });
    }),
  );
}, 2 * bootLimitMs);

afterAll(async () => {
  await network?.close();
  for (const relay of relays) relay.close();
  vswitch?.close();
});

function run(number: number, command: string): Promise<string> {
  return network.machines[number - 1]!.shell.check(command, commandLimitMs);
}

test.each(numbers)('vm%i has the rings and the MTU that it was offered', async (number) => {
  const { name } = vswitch.ports[number - 1]!;
  const agreed = events.filter((event) => event.type === 'features-agreed' && event.port === name);
  const { names } = agreed.at(-1) as Extract<SwitchEvent, { type: 'features-agreed' }>;
  expect(names.includes('VIRTIO_F_RING_PACKED')).toBe(machines[number - 1] === 'packed');
  expect(names).toContain('VIRTIO_NET_F_MTU');
  expect(Number(await run(number, 'cat /sys/class/net/eth0/mtu'))).toBe(mtuBytes);
});

describe.each(
  numbers.flatMap((from) => numbers.filter((to) => to !== from).map((to) => [from, to] as const)),
)('from vm%i to vm%i', (from, to) => {
  test('a packet as long as the MTU is answered, and TCP arrives', {
    timeout: 3 * commandLimitMs,
  }, async () => {
    const address = network.address(to);
    const longest = await run(from, `ping -c 3 -s ${mtuBytes - headersBytes} ${address}`);
    expect(longest).toMatch(/3 packets received/);
    await run(to, 'iperf3 --server --one-off --daemon');
    const listening = 'until netstat -ltn | grep -q :5201; do sleep 0.1; done';
    await run(to, `timeout 60 sh -c '${listening}'`);
    const report = JSON.parse(await run(from, `iperf3 --client ${address} --time 1 --json`));
    expect(report.end.sum_received.bytes).toBeGreaterThan(1 << 20);
  });
});

test('no queue broke', () => {
  expect(events.map(({ type }) => type)).not.toContain('ring-broken');
});
