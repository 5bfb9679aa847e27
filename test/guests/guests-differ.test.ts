/**
 * Four machines whose network cards have little in common exchange files over TCP, each with each,
 * both ways: between them the switch completes checksums and cuts large packets. Rings are split
 * and packed, queue pairs one and two, frames up to 9014 bytes.
 *
 * The switch runs in this process, so that each queue and every drop can be looked at.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Switch, type SwitchEvent } from '../../src/index.ts';
import type { PortCounters } from '../../src/port/port.ts';
import { prepareEngine } from '../../src/tiny/engine.ts';
import { type TinyMachineOptions, TinyNetwork } from '../../src/tiny/network.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 120_000;
const fileMiB = 4;
/** Ethernet's header and 1500 bytes. */
const ordinaryFrameBytes = 1514;

const allOff = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, 'off']));
const segmentation = [
  ...['host_tso4', 'host_tso6', 'host_ecn', 'host_ufo'],
  ...['guest_tso4', 'guest_tso6', 'guest_ecn', 'guest_ufo'],
];

/** Machine number, from 1, is the place in this list. */
const machines: readonly (TinyMachineOptions & {
  readonly has: readonly string[];
  readonly hasNot: readonly string[];
})[] = [
  {
    cpus: 2,
    queuePairs: 2,
    deviceOptions: { host_mtu: '9000' },
    has: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6', 'VIRTIO_NET_F_MQ'],
    hasNot: ['VIRTIO_F_RING_PACKED'],
  },
  {
    deviceOptions: allOff([...segmentation, 'csum', 'guest_csum', 'mrg_rxbuf']),
    has: ['VIRTIO_F_VERSION_1'],
    hasNot: ['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_MRG_RXBUF'],
  },
  {
    deviceOptions: { packed: 'on', ...allOff(segmentation) },
    has: ['VIRTIO_F_RING_PACKED', 'VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_GUEST_CSUM'],
    hasNot: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_GUEST_TSO4'],
  },
  {
    cpus: 2,
    queuePairs: 2,
    deviceOptions: { packed: 'on', host_mtu: '9000', ...allOff(['guest_tso6', 'host_tso6']) },
    has: ['VIRTIO_F_RING_PACKED', 'VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_MQ'],
    hasNot: ['VIRTIO_NET_F_HOST_TSO6', 'VIRTIO_NET_F_GUEST_TSO6'],
  },
];
const numbers = Array.from(machines.keys(), (index) => index + 1);
const multiqueue = numbers.filter((number) => machines[number - 1]!.queuePairs === 2);

let network: TinyNetwork;
let vswitch: Switch;
const events: SwitchEvent[] = [];

beforeAll(async () => {
  const engine = await prepareEngine('qemu', machines.length);
  network = await TinyNetwork.create({ machines: machines.length, engine });
  vswitch = Switch.open();
  vswitch.on('event', (event) => events.push(event));
  for (const number of numbers) vswitch.addPort({ path: network.portSocket(number) });
  // Two at a time, on two cores.
  for (const pair of [numbers.slice(0, 2), numbers.slice(2)]) {
    await Promise.all(
      pair.map((number) => {
        const { has: _, hasNot: __, ...options } = machines[number - 1]!;
        return network.boot(number, options);
      }),
    );
  }
  for (const number of numbers) {
    // Usable at once, without looking for the same address elsewhere.
    await run(number, 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad');
    await run(number, `ip addr add ${address6(number)}/64 dev eth0`);
    await run(number, `dd if=/dev/urandom of=/tmp/sent bs=1M count=${fileMiB}`);
  }
}, 3 * bootLimitMs);

afterAll(async () => {
  await network?.close();
  vswitch?.close();
});

function run(number: number, command: string): Promise<string> {
  return network.machines[number - 1]!.shell.check(command, commandLimitMs);
}

function address6(number: number): string {
  return `fd00::${number}`;
}

function counters(number: number): PortCounters {
  return vswitch.ports[number - 1]!.counters;
}

/** Sends a file over TCP; both ends' checksums of it. */
async function sendFile(from: number, to: number, address: string): Promise<[string, string]> {
  await run(to, "nc -l -p 5000 -e sh -c 'cat >/tmp/got' >/dev/null 2>&1 &");
  await run(to, "timeout 60 sh -c 'until netstat -ltn | grep -q :5000; do sleep 0.1; done'");
  // Ends when the other side has closed, which it does when it has written everything.
  await run(from, `timeout 100 nc ${address} 5000 </tmp/sent`);
  const sum = async (number: number, file: string) =>
    (await run(number, `sha256sum ${file}`)).split(' ')[0]!;
  return [await sum(from, '/tmp/sent'), await sum(to, '/tmp/got')];
}

test.each(numbers)('vm%i and the switch agree on the features it was given', (number) => {
  const agreed = events.filter(
    (event) => event.type === 'features-agreed' && event.port === vswitch.ports[number - 1]!.name,
  );
  expect(agreed).not.toHaveLength(0);
  const { names } = agreed.at(-1) as Extract<SwitchEvent, { type: 'features-agreed' }>;
  const { has, hasNot } = machines[number - 1]!;
  expect(names).toEqual(expect.arrayContaining([...has]));
  expect(names.filter((name) => hasNot.includes(name))).toEqual([]);
});

describe.each([
  ['IPv4', (number: number) => network.address(number)],
  ['IPv6', address6],
])('a file over %s', (_, addressOf) => {
  const pairs = numbers.flatMap((from) =>
    numbers.filter((to) => to !== from).map((to) => ({ from, to })),
  );
  test.each(pairs)(
    'from vm$from to vm$to arrives as it was',
    {
      timeout: 3 * commandLimitMs,
    },
    async ({ from, to }) => {
      const before = counters(to).toGuest.bytes;
      const [sent, got] = await sendFile(from, to, addressOf(to));
      expect(got).toBe(sent);
      expect(counters(to).toGuest.bytes - before).toBeGreaterThan(fileMiB << 20);
    },
  );
});

test('large packets are cut for a guest that cannot take them, and passed whole to one that can', {
  timeout: 3 * commandLimitMs,
}, async () => {
  const meanBytes = async (to: number) => {
    const [from, receiver] = [counters(1).fromGuest, counters(to).toGuest];
    await sendFile(1, to, network.address(to));
    const sent = counters(1).fromGuest;
    const received = counters(to).toGuest;
    return [
      (sent.bytes - from.bytes) / (sent.frames - from.frames),
      (received.bytes - receiver.bytes) / (received.frames - receiver.frames),
    ] as const;
  };
  const [sentWhole, cut] = await meanBytes(2);
  // How much larger depends on how fast it goes.
  expect(sentWhole).toBeGreaterThan(ordinaryFrameBytes);
  expect(cut).toBeLessThanOrEqual(ordinaryFrameBytes);
  const [, passed] = await meanBytes(4);
  expect(passed).toBeGreaterThan(ordinaryFrameBytes);
});

test('a guest told of an MTU of 9000 sends frames of that size', async () => {
  expect((await run(1, 'cat /sys/class/net/eth0/mtu')).trim()).toBe('9000');
  const told = events.filter(({ type }) => type === 'mtu').map(({ port }) => port);
  expect(new Set(told)).toEqual(new Set([1, 4].map((number) => vswitch.ports[number - 1]!.name)));
  await run(1, `ping -c 1 ${network.address(4)}`);
  const before = counters(4).toGuest;
  const pings = 4;
  const payloadBytes = 8972;
  await run(1, `ping -c ${pings} -i 0.2 -s ${payloadBytes} ${network.address(4)}`);
  const { frames, bytes } = counters(4).toGuest;
  expect(bytes - before.bytes).toBeGreaterThanOrEqual(pings * (14 + 20 + 8 + payloadBytes));
  // In fragments of 1500 there were 7 of each.
  expect(frames - before.frames).toBeLessThan(3 * pings);
});

test.each(multiqueue)(
  'vm%i uses both of its queue pairs',
  {
    timeout: 2 * commandLimitMs,
  },
  async (number) => {
    const { name } = vswitch.ports[number - 1]!;
    const enabled = new Set<number>();
    for (const event of events) {
      if (event.port !== name) continue;
      if (event.type === 'ring-enabled') enabled.add(event.queue);
      if (event.type === 'ring-disabled') enabled.delete(event.queue);
    }
    expect([...enabled].sort()).toEqual([0, 1, 2, 3]);
    const frames = () => vswitch.ports[number - 1]!.transmitqs.map((queue) => queue.frames);
    const pings = 10;
    const before = frames();
    // The driver takes the transmitq of the processor it runs on.
    for (const cpu of [0, 1]) {
      await run(number, `taskset ${1 << cpu} ping -c ${pings} -i 0.1 ${network.address(2)}`);
    }
    const sent = frames().map((now, index) => now - before[index]!);
    expect(sent).toHaveLength(2);
    expect(Math.min(...sent)).toBeGreaterThanOrEqual(pings / 2);
  },
);

test('no queue broke, and every drop was for want of a buffer or of a guest', () => {
  expect(events.map(({ type }) => type)).not.toContain('ring-broken');
  for (const number of numbers) {
    const { noBuffer: _, notReady: __, bufferTooSmall: ___, ...drops } = counters(number).drops;
    expect(Object.entries(drops).filter(([, frames]) => frames > 0)).toEqual([]);
  }
});
