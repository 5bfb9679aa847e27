/**
 * Two guests that pass each other TCP packets of 60 KB, one at a time: one takes them whole, the
 * other has them cut by the switch. How long a packet was under way is the latency of a switch
 * under load.
 */

import {
  parse,
  TestGuest,
  tcp4,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
} from '#tsvswitch/testing/index.js';

const payload = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
const ends = [
  { mac: '52:54:00:c2:00:01', ip: '10.0.0.1' },
  { mac: '52:54:00:c2:00:02', ip: '10.0.0.2' },
] as const;
/** The driver's part of a packet that is to be cut into segments of an Ethernet frame each. */
const header = {
  flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
  gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
  ...{ hdrLen: 54, gsoSize: 1446, csumStart: 34, csumOffset: 16 },
};
const limitMs = 60_000;

export class BulkPair {
  readonly #cutting: TestGuest;
  readonly #whole: TestGuest;

  private constructor(cutting: TestGuest, whole: TestGuest) {
    this.#cutting = cutting;
    this.#whole = whole;
  }

  static async connect(paths: readonly [string, string]): Promise<BulkPair> {
    const sends = [
      ...['VIRTIO_F_VERSION_1', 'VIRTIO_NET_F_MRG_RXBUF'],
      ...['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_HOST_TSO4'],
    ] as const;
    const takes = ['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4'] as const;
    const timeoutMs = limitMs;
    const cutting = await TestGuest.connect({ path: paths[0], features: sends, timeoutMs });
    const features = [...sends, ...takes];
    const whole = await TestGuest.connect({ path: paths[1], features, timeoutMs });
    return new BulkPair(cutting, whole);
  }

  /**
   * Passes a packet each way and returns how long each of them took; throws if one is not what was
   * sent.
   */
  async exchange(): Promise<readonly [wholeMs: number, cutMs: number]> {
    return [
      await this.#pass(this.#cutting, this.#whole, 0),
      await this.#pass(this.#whole, this.#cutting, 1),
    ];
  }

  close(): void {
    this.#cutting.disconnect();
    this.#whole.disconnect();
  }

  async #pass(from: TestGuest, to: TestGuest, sender: 0 | 1): Promise<number> {
    const [source, target] = sender === 0 ? ends : [ends[1], ends[0]];
    const packet = tcp4({
      ...{ to: target.mac, from: source.mac, source: source.ip, target: target.ip },
      ...{ sourcePort: 1, targetPort: 2, payload },
    });
    const beganMs = performance.now();
    await from.send(packet, { header });
    let takenBytes = 0;
    while (takenBytes < payload.length) {
      const piece = parse(await to.receive()).payload;
      if (Buffer.compare(piece, payload.subarray(takenBytes, takenBytes + piece.length)) !== 0) {
        throw new Error(`a packet of ${payload.length} bytes arrived changed`);
      }
      takenBytes += piece.length;
    }
    return performance.now() - beganMs;
  }
}
