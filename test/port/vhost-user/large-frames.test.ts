/**
 * A frame larger than everything a guest offers buffers for: it is dropped alone, and what was sent
 * behind it arrives, in either ring format, with and without merged buffers, on whatever way frames
 * reach a guest.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Impairment, Switch } from '../../../src/index.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { virtioFeatures } from '../../../src/vhost-user/features.ts';
import { ethernetFrame, macOf } from '../../support/ethernet.ts';

const { VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF } = virtioFeatures;
const receiverNumber = 1;
const delayMs = 5;

let folder: string;
let vswitch: Switch;
const guests: TestGuest[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'large-'));
  vswitch = Switch.open({ clock: 'manual', seed: 1 });
});
afterEach(async () => {
  for (const guest of guests.splice(0)) await guest.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

async function connect(name: string, features: bigint, receiveBuffers: number): Promise<TestGuest> {
  vswitch.addPort({ path: join(folder, `${name}.sock`) });
  const path = join(folder, `${name}.sock`);
  const guest = await TestGuest.connect({
    path,
    features,
    receiveBuffers,
    receiveBufferBytes: 256,
  });
  guests.push(guest);
  return guest;
}

const frame = (to: string, number: number, lengthBytes: number) =>
  ethernetFrame({ to, from: macOf(0), number, lengthBytes });

const ways: [string, string, Impairment | undefined][] = [
  ['flooded', 'ff:ff:ff:ff:ff:ff', undefined],
  ['to its address', macOf(receiverNumber), undefined],
  ['flooded, and held by its link', 'ff:ff:ff:ff:ff:ff', { delayMs }],
  ['to its address, and held by its link', macOf(receiverNumber), { delayMs }],
];

describe.each([
  ['split', VIRTIO_F_VERSION_1],
  ['split, merged', VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF],
  ['packed', VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED],
  ['packed, merged', VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_NET_F_MRG_RXBUF],
])('%s', (_, features) => {
  test.each(ways)('a frame that does not fit is dropped alone, %s', async (_, to, impairment) => {
    const sender = await connect('sender', VIRTIO_F_VERSION_1, 16);
    const receiver = await connect('receiver', features, 16);
    await receiver.sendAll([ethernetFrame({ to: macOf(7), from: macOf(receiverNumber) })]);
    vswitch.step(5);
    if (impairment !== undefined)
      vswitch.impair({ port: 'receiver', direction: 'toGuest' }, impairment);
    const small = [2, 3, 4].map((number) => frame(to, number, 64));
    await sender.sendAll([frame(to, 1, 9000), ...small]);
    vswitch.step(5);
    vswitch.advance(2 * delayMs);
    for (const expected of small) {
      expect(Buffer.compare(await receiver.receive(), Buffer.from(expected))).toBe(0);
    }
    const { noBuffer, bufferTooSmall } = vswitch.port('receiver')!.counters.drops;
    expect({ noBuffer, bufferTooSmall }).toEqual({ noBuffer: 0, bufferTooSmall: 1 });
  });
});
