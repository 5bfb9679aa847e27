/**
 * Linux kernels whose network cards agree on different offloads exchange files over TCP, each with
 * each, both ways, over IPv4 and IPv6: between them the switch completes checksums and cuts large
 * packets.
 *
 * What a kernel agrees on is decided by what it is offered (feature-relay.ts). None is offered the
 * control queue here, nor packed rings.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Switch, type SwitchEvent } from '../../src/index.ts';
import type { PortCounters } from '../../src/port/port.ts';
import {
  controlQueueFeatures,
  type FeatureName,
  FeatureRelay,
} from '../../src/testing/feature-relay.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';
import { linuxEngine } from '../support/linux-guests.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 120_000;
const fileMiB = 2;
const ordinaryFrameBytes = 1514;

const [sending, receiving] = (['HOST', 'GUEST'] as const).map((side) =>
  (['TSO4', 'TSO6', 'ECN', 'UFO'] as const).map((kind) => `VIRTIO_NET_F_${side}_${kind}` as const),
) as [FeatureName[], FeatureName[]];

/** Machine number, from 1, is the place in this list. */
const machines: readonly { readonly is: string; readonly without: readonly FeatureName[] }[] = [
  { is: 'one with all offloads', without: [] },
  {
    is: 'one with none',
    without: [
      ...[...sending, ...receiving],
      ...(['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_MRG_RXBUF'] as const),
    ],
  },
  { is: 'one that takes large packets and sends none', without: sending },
  { is: 'one that sends large packets and takes none', without: receiving },
  {
    is: 'one that sends no checksum and checks all, over IPv6 in small packets',
    without: [
      ...(['VIRTIO_NET_F_GUEST_CSUM', ...receiving] as const),
      ...(['VIRTIO_NET_F_HOST_TSO6', 'VIRTIO_NET_F_MRG_RXBUF'] as const),
    ],
  },
];
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
  for (const number of numbers) vswitch.addPort({ path: network.portSocket(number) });
  await Promise.all(
    numbers.map((number) => {
      const socket = join(network.folder, `relay${number}`);
      const withheld = [...controlQueueFeatures, ...machines[number - 1]!.without];
      relays.push(
        FeatureRelay.open({ path: socket, backend: network.portSocket(number), withheld }),
      );
      return network.boot(number, { socket });
    }),
  );
  for (const number of numbers) {
    // Usable at once, without looking for the same address elsewhere.
    await run(number, 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad');
    await run(number, `ip addr add ${address6(number)}/64 dev eth0`);
    await run(number, `dd if=/dev/urandom of=/tmp/sent bs=1M count=${fileMiB}`);
  }
}, 3 * bootLimitMs);

afterAll(async () => {
  await network?.close();
  for (const relay of relays) relay.close();
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

test.each(numbers)('vm%i agreed on nothing that was kept from it', (number) => {
  const { name } = vswitch.ports[number - 1]!;
  const agreed = events.filter((event) => event.type === 'features-agreed' && event.port === name);
  const { names } = agreed.at(-1) as Extract<SwitchEvent, { type: 'features-agreed' }>;
  const kept: readonly string[] = machines[number - 1]!.without;
  expect(names.filter((one) => kept.includes(one))).toEqual([]);
  expect(names).toContain('VIRTIO_F_VERSION_1');
  if (kept.length === 0) {
    expect(names).toEqual(
      expect.arrayContaining([
        'VIRTIO_NET_F_CSUM',
        'VIRTIO_NET_F_HOST_TSO6',
        'VIRTIO_NET_F_GUEST_TSO4',
      ]),
    );
  }
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
    { timeout: 3 * commandLimitMs },
    async ({ from, to }) => {
      const before = { from: counters(from).fromGuest, to: counters(to).toGuest };
      const [sent, got] = await sendFile(from, to, addressOf(to));
      expect(got, `from ${machines[from - 1]!.is} to ${machines[to - 1]!.is}`).toBe(sent);
      const { bytes, frames } = counters(to).toGuest;
      expect(bytes - before.to.bytes).toBeGreaterThan(fileMiB << 20);
      if (machines[to - 1]!.without.includes('VIRTIO_NET_F_GUEST_TSO4')) {
        const meanBytes = (bytes - before.to.bytes) / (frames - before.to.frames);
        expect(meanBytes).toBeLessThanOrEqual(ordinaryFrameBytes);
      }
    },
  );
});

test('a large packet passes whole between kernels that both have segmentation', {
  timeout: 3 * commandLimitMs,
}, async () => {
  const capture = vswitch.capture({ port: vswitch.ports[2]!.name, snapBytes: 64 });
  try {
    await sendFile(1, 3, network.address(3));
    const delivered = capture
      .packets()
      .filter(({ direction, comments }) => direction === 'toGuest' && comments.length === 0);
    // How large they are is up to the sender's TCP, which paces them.
    const longest = Math.max(...delivered.map(({ frameBytes }) => frameBytes));
    expect(longest).toBeGreaterThan(ordinaryFrameBytes);
  } finally {
    await capture.close();
  }
});

test('no queue broke, and every drop was for want of a buffer or of a guest', () => {
  expect(events.map(({ type }) => type)).not.toContain('ring-broken');
  for (const number of numbers) {
    const { noBuffer: _, notReady: __, bufferTooSmall: ___, ...drops } = counters(number).drops;
    expect(Object.entries(drops).filter(([, frames]) => frames > 0)).toEqual([]);
  }
});
