/**
 * Live migration as a frontend sees it: the dirty log says of every page of guest memory whether
 * the switch has written to it, and a guest that has moved is announced.
 *
 * What was written is found by comparing all of memory with a copy of it. The driver under the log
 * is held still: it offers buffers before the copy is made, and nobody takes them back.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { GuestMemory, type TestGuest } from '../../src/testing/index.ts';
import { VIRTQ_DESC_F_WRITE } from '../../src/testing/split-ring.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  logAreaLayout,
  macLayout,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
} from '../../src/vhost-user/message.ts';
import { broadcast, frameBetween, frameBytesMin, macOf, numberOf } from '../support/ethernet.ts';
import { announce, deliveredTo, expectDelivery, SwitchNetwork } from '../support/network.ts';

const { VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, VHOST_F_LOG_ALL } = virtioFeatures;
const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_LOG_SHMFD } = protocolFeatures;
const pageBytes = 4096;
const receiveq = 0;
const transmitq = 1;
const logFlag = 1;

let network: SwitchNetwork;

afterEach(() => network.close());

/** A guest on port 1 under a log, beside an ordinary one on port 0. */
class LoggedGuest {
  readonly guest: TestGuest;
  readonly #log: GuestMemory;
  #copy = Buffer.alloc(0);

  private constructor(guest: TestGuest, log: GuestMemory) {
    this.guest = guest;
    this.#log = log;
  }

  static async connect(bufferBytes: number): Promise<LoggedGuest> {
    const guest = await network.connect(1, {
      features: VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF,
      protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_LOG_SHMFD,
      receiveBuffers: 0,
    });
    for (const index of [receiveq, transmitq]) {
      await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, { index, hasFd: false });
    }
    const { memory } = guest;
    const { ring } = guest.receiveq.driver;
    for (let i = 0; i < ring.size; i++) {
      // At odd places, so that buffers cross pages.
      const address = memory.guestAddress(memory.allocate(bufferBytes, 2) + 1);
      const lengthBytes = bufferBytes - 1;
      ring.writeDescriptor(i, { address, lengthBytes, flags: VIRTQ_DESC_F_WRITE, next: 0 });
      ring.setAvailEntry(i, i);
    }
    ring.availIndex = ring.size;
    const endPage = Number(memory.guestAddress(memory.bytes.length)) / pageBytes;
    const logBytes = Math.ceil(endPage / 8 / pageBytes) * pageBytes;
    return new LoggedGuest(guest, GuestMemory.create({ sizeBytes: logBytes }));
  }

  close(): void {
    this.#log.close();
  }

  async setLog(): Promise<void> {
    const payload = logAreaLayout.encode({
      sizeBytes: BigInt(this.#log.bytes.length),
      offsetBytes: 0n,
    });
    const fds = [this.#log.fd];
    await this.guest.frontend.request(requestNumbers.SET_LOG_BASE, 0, payload, fds, true);
  }

  /** VHOST_F_LOG_ALL, and the log flag of the rings named. */
  async setLogging(enabled: boolean, rings = [receiveq, transmitq]): Promise<void> {
    const { guest } = this;
    const features = guest.features | (enabled ? VHOST_F_LOG_ALL : 0n);
    await guest.frontend.tell('SET_FEATURES', u64Layout, features);
    for (const index of rings) {
      const { addresses } = (index === receiveq ? guest.receiveq : guest.transmitq).driver.ring;
      const flags = enabled ? logFlag : 0;
      const log = this.#guestAddressOf(addresses.used);
      const value = { index, flags, log, ...addresses };
      await guest.frontend.tell('SET_VRING_ADDR', vringAddressesLayout, value);
    }
  }

  /** From here on. */
  startOver(): void {
    this.#log.bytes.fill(0);
    this.#copy = Buffer.from(this.guest.memory.bytes);
  }

  /** Pages of guest memory that differ from what they were. */
  get written(): number[] {
    const { memory } = this.guest;
    return this.#pages(
      (page) =>
        Buffer.compare(
          memory.bytes.subarray(page * pageBytes, (page + 1) * pageBytes),
          this.#copy.subarray(page * pageBytes, (page + 1) * pageBytes),
        ) !== 0,
    );
  }

  get marked(): number[] {
    const first = Number(this.guest.memory.guestAddress(0)) / pageBytes;
    const isMarked = (page: number) => (this.#log.bytes[page >> 3]! & (1 << (page & 7))) !== 0;
    return this.#pages((page) => isMarked(first + page));
  }

  /** How many bits are set in all of the log. */
  get bits(): number {
    return this.#log.bytes.reduce((sum, byte) => {
      return sum + byte.toString(2).replaceAll('0', '').length;
    }, 0);
  }

  /** The pages of a used ring: the log knows the ring as one. */
  usedRingPages(index: number): number[] {
    const { ring } = (index === receiveq ? this.guest.receiveq : this.guest.transmitq).driver;
    const start = this.#offsetOf(ring.addresses.used);
    const end = start + 6 + 8 * ring.size;
    return this.#pages((page) => page * pageBytes < end && (page + 1) * pageBytes > start);
  }

  #pages(has: (page: number) => boolean): number[] {
    return [...Array(this.guest.memory.bytes.length / pageBytes).keys()].filter(has);
  }

  #offsetOf(userAddress: bigint): number {
    return Number(userAddress - this.guest.memory.userAddress(0));
  }

  #guestAddressOf(userAddress: bigint): bigint {
    return this.guest.memory.guestAddress(this.#offsetOf(userAddress));
  }
}

const sizes = [frameBytesMin, 60, 590, 1514, 3000, 9000];

/** Frames of every size to the logged guest, delivered when this returns. */
async function sendAll(from: TestGuest): Promise<void> {
  const before = network.port(1).counters.toGuest.frames;
  for (const [i, bytes] of sizes.entries()) await from.send(frameBetween(0, 1, i, bytes));
  await from.flush();
  expect(network.port(1).counters.toGuest.frames - before).toBe(sizes.length);
}

describe('the dirty log', () => {
  test.each([300, 2048, 12_000])(
    'marks every page that is written, and no other, with buffers of %i bytes',
    async (bufferBytes) => {
      network = SwitchNetwork.open(2);
      const a = await network.connect(0);
      const logged = await LoggedGuest.connect(bufferBytes);
      await logged.setLog();
      await logged.setLogging(true);
      logged.startOver();
      await sendAll(a);
      const { written, marked } = logged;
      expect(written.length).toBeGreaterThan(4);
      expect(marked).toEqual(expect.arrayContaining(written));
      const rings = [...logged.usedRingPages(receiveq), ...logged.usedRingPages(transmitq)];
      expect(marked.filter((page) => !written.includes(page) && !rings.includes(page))).toEqual([]);
      // Nor is anything marked that is not memory of this guest.
      expect(logged.bits).toBe(marked.length);
      logged.close();
    },
  );

  test('of a guest that only sends has its used ring and nothing else', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const logged = await LoggedGuest.connect(2048);
    await logged.setLog();
    await logged.setLogging(true);
    logged.guest.transmitq.add(frameBetween(1, 0, 7, 1514), {});
    logged.guest.transmitq.driver.publish();
    logged.startOver();
    logged.guest.kick('transmitq');
    expect(numberOf(await a.receive())).toBe(7);
    // The frame is there before its buffer is given back, and that before it is logged.
    await expect.poll(() => logged.guest.transmitq.driver.ring.usedIndex).toBe(1);
    await expect.poll(() => logged.marked).toEqual(logged.usedRingPages(transmitq));
    expect(logged.bits).toBe(logged.marked.length);
    logged.close();
  });

  test('stays empty without VHOST_F_LOG_ALL, and when that was taken back', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const logged = await LoggedGuest.connect(2048);
    await logged.setLog();
    logged.startOver();
    await sendAll(a);
    expect(logged.written).not.toEqual([]);
    expect(logged.bits).toBe(0);

    await logged.setLogging(true);
    await sendAll(a);
    expect(logged.bits).toBeGreaterThan(0);

    await logged.setLogging(false);
    logged.startOver();
    await sendAll(a);
    expect(logged.written).not.toEqual([]);
    expect(logged.bits).toBe(0);
    logged.close();
  });

  test('leaves out the used ring of a queue that does not ask for it', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const logged = await LoggedGuest.connect(2048);
    await logged.setLog();
    await logged.setLogging(true, []);
    logged.startOver();
    await sendAll(a);
    const rings = [...logged.usedRingPages(receiveq), ...logged.usedRingPages(transmitq)];
    expect(logged.written.filter((page) => !rings.includes(page)).length).toBeGreaterThan(4);
    expect(logged.marked).toEqual(logged.written.filter((page) => !rings.includes(page)));
    logged.close();
  });
});

describe('SEND_RARP', () => {
  test('tells every other port where the guest is now, and frames follow it', async () => {
    network = SwitchNetwork.open(3);
    const a = await network.connect(0);
    const source = await network.connect(1);
    const destination = await network.connect(2, {
      protocolFeatures:
        VHOST_USER_PROTOCOL_F_REPLY_ACK | protocolFeatures.VHOST_USER_PROTOCOL_F_RARP,
    });
    await announce(1, [a, source, destination]);
    const mac = Buffer.from(macOf(1).replaceAll(':', ''), 'hex');
    await destination.frontend.tell('SEND_RARP', macLayout, mac.readUIntBE(0, 6));

    for (const guest of [a, source]) {
      const frame = Buffer.from(await guest.receive());
      expect(frame.subarray(0, 6).toString('hex')).toBe(broadcast.replaceAll(':', ''));
      expect(frame.subarray(6, 12)).toEqual(mac);
      // RFC 903: Ethernet and IPv4, "request reverse", of itself and by itself.
      expect(frame.subarray(12, 22).toString('hex')).toBe('80350001080006040003');
      expect(frame.subarray(22, 28)).toEqual(mac);
      expect(frame.subarray(32, 38)).toEqual(mac);
    }
    expect(await network.event('mac-moved')).toMatchObject({ port: 'p2', mac: macOf(1) });
    expect(network.vswitch.bridge.fdb).toMatchObject([{ mac: macOf(1), port: 'p2' }]);
    await expectDelivery(a, destination, [frameBetween(0, 1, 1)]);
    expect(deliveredTo(source)).toBe(1);
    expect(destination.pendingFrames).toBe(0);
  });

  test('is refused without the protocol feature', async () => {
    network = SwitchNetwork.open(1);
    const guest = await network.connect(0);
    await expect(
      guest.frontend.tell('SEND_RARP', macLayout, 0x5254_0000_0001),
    ).rejects.toMatchObject({ code: 'REFUSED' });
    expect((await network.event('frontend-left')).reason).toMatchObject({
      kind: 'protocol-error',
      code: 'MISSING_FEATURE',
      sentence: expect.stringMatching(/^port p0: SEND_RARP.*VHOST_USER_PROTOCOL_F_RARP/),
    });
  });
});
