/**
 * Guests and frontends that make work, or memory, for the switch: classes 25 to 27. None of it
 * breaks a rule. Each frame or buffer costs as much as one can, on as many queues as there are;
 * frontends ask for memory and keep it; or they leave a report behind that their successor must not
 * be blamed for.
 *
 * How much work a turn may have is counted in native/test/forward/turn_test.cc.
 */

import { fstatSync, ftruncateSync } from 'node:fs';
import { native } from '../../../src/native/addon.ts';
import { FdSocket } from '../../../src/native/fd-socket.ts';
import type { TestGuest } from '../../../src/testing/index.ts';
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../../src/testing/split-ring.ts';
import { protocolFeatures, virtioFeatures } from '../../../src/vhost-user/features.ts';
import {
  encodeMessage,
  headerFlags,
  inflightAreaLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
} from '../../../src/vhost-user/message.ts';
import { NotOffered } from '../outcome.ts';
import {
  type Format,
  featuresOf,
  formats,
  headerBytes,
  type Link,
  packet,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { fromAttacker, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

export interface Labour {
  readonly class: number;
  readonly name: string;
  readonly strike: (stage: Stage, format: Format) => Promise<void>;
}

const queuePairs = 8;
const queueSize = 1024;
/** Offered to each queue: enough for many rounds. */
const chainsPerQueue = 256;
const burstFrames = 100;
const regionsWanted = 64;
const answerBytesMax = 64;
const successors = 20;

async function manyQueues(stage: Stage, format: Format, more = 0n): Promise<TestGuest> {
  const features = featuresOf(format) | virtioFeatures.VIRTIO_NET_F_MQ | more;
  return stage.attacker(format, {
    features,
    protocolFeatures: protocolFeatures.VHOST_USER_PROTOCOL_F_MQ,
    queuePairs,
    queueSize,
    receiveBuffers: 0,
    memorySizeBytes: 64 << 20,
  });
}

/** A table of as many entries as the ring has, of which the first hold these bytes, one each. */
function tableOfBytes(ring: RawQueue, bytes: Uint8Array, flags = 0): Link {
  const { address } = ring.buffer(bytes);
  const entries = Array.from({ length: queueSize }, (_, i) => {
    const last = i === queueSize - 1 || ring.format === 'packed';
    return {
      address: address + BigInt(Math.min(i, bytes.length - 1)),
      lengthBytes: i < bytes.length ? 1 : 0,
      flags: flags | (last ? 0 : NEXT),
    };
  });
  return asTable(ring, entries);
}

function asTable(ring: RawQueue, entries: readonly Link[]): Link {
  const { memory } = ring.guest;
  const lengthBytes = 16 * entries.length;
  const address = memory.guestAddress(ring.table(entries));
  return { address, lengthBytes, flags: INDIRECT };
}

/** The same frame from all transmitqs, each of its bytes in a descriptor of its own. */
const longChains: Labour = {
  class: 25,
  name: 'every queue full of chains as long as the ring',
  async strike(stage, format) {
    const guest = await manyQueues(stage, format);
    const rings = guest.queuePairs.map((_, pair) => new RawQueue(guest, 2 * pair + transmitq));
    const table = tableOfBytes(rings[0]!, packet(fromAttacker(1, queueSize - headerBytes)));
    for (const ring of rings) {
      for (let i = 0; i < chainsPerQueue; i++) ring.offer([table], i);
      ring.kick();
    }
    await stage.goOn(4);
    for (const ring of rings) while (!ring.isDrained) await stage.goOn();
  },
};

const emptyDescriptors: Labour = {
  class: 25,
  name: 'tables of descriptors without a byte around a short frame',
  async strike(stage, format) {
    const guest = await manyQueues(stage, format);
    const rings = guest.queuePairs.map((_, pair) => new RawQueue(guest, 2 * pair + transmitq));
    const table = tableOfBytes(rings[0]!, packet(fromAttacker(2)));
    for (const ring of rings) {
      for (let i = 0; i < chainsPerQueue; i++) ring.offer([table], i);
      ring.kick();
    }
    await stage.arrives(fromAttacker(2));
    for (const ring of rings) while (!ring.isDrained) await stage.goOn();
  },
};

/** Mergeable buffers with room for a header, each a table of otherwise empty descriptors. */
const costlyBuffers: Labour = {
  class: 25,
  name: 'receive buffers of twelve bytes, in tables as long as the ring',
  async strike(stage, format) {
    const { VIRTIO_NET_F_MRG_RXBUF } = virtioFeatures;
    const guest = await manyQueues(stage, format, VIRTIO_NET_F_MRG_RXBUF);
    await stage.hear(guest);
    const ring = new RawQueue(guest, receiveq);
    const room = tableOfBytes(ring, new Uint8Array(headerBytes), WRITE);
    for (let i = 0; i < queueSize; i++) ring.offer([room], i);
    for (let i = 0; i < 4; i++) {
      const frames = Array.from({ length: burstFrames }, () => toAttacker(0, 1500));
      await stage.peer.sendAll(frames);
      await stage.goOn();
    }
    await stage.peer.flush();
  },
};

/**
 * Files that the backend makes and the frontend keeps; returns how many of them have pages while it
 * is there, and when it has left.
 */
export async function keepRegions(
  stage: Stage,
  format: Format,
): Promise<{ kept: number; during: number; after: number }> {
  const { VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD } = protocolFeatures;
  // Packed rings are given no region.
  const features = featuresOf(format) & ~virtioFeatures.VIRTIO_F_RING_PACKED;
  const socket = FdSocket.connect(stage.path);
  const kept: number[] = [];
  try {
    say(socket, 'SET_PROTOCOL_FEATURES', u64Layout.encode(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD));
    say(
      socket,
      'SET_FEATURES',
      u64Layout.encode(features | virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES),
    );
    const wanted = { sizeBytes: 0n, offsetBytes: 0n, queues: 2, queueSize: 32768, wireBytes: 24 };
    for (let i = 0; i < regionsWanted; i++) {
      say(socket, 'GET_INFLIGHT_FD', inflightAreaLayout.encode(wanted));
      kept.push(...(await answerOf(socket)));
    }
    const withPages = () => kept.filter((fd) => fstatSync(fd).blocks > 0).length;
    const during = withPages();
    socket.close();
    await stage.goOn(2);
    return { kept: kept.length, during, after: withPages() };
  } finally {
    socket.close();
    for (const fd of kept) native().closeFd(fd);
  }
}

/** VhostUserFrontend closes fds that it did not ask for. */
function say(socket: FdSocket, request: RequestName, payload: Uint8Array): void {
  socket.send(encodeMessage(requestNumbers[request], headerFlags.VERSION, payload));
}

/** The fds of the next answer; throws NotOffered if the backend leaves instead. */
function answerOf(socket: FdSocket): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    socket.onReadable(() => {
      const answer = socket.receive(answerBytesMax);
      if (answer === 'would-block') return;
      if (answer === 'end') reject(new NotOffered());
      else resolve(answer.fds);
    });
  });
}

const lateReports: Labour = {
  class: 27,
  name: 'memory truncated by machines that leave at once, and others that come',
  async strike(stage, format) {
    for (let i = 0; i < successors; i++) {
      const guest = await stage.attacker(format, { memory: 'file', receiveBuffers: 0 });
      ftruncateSync(guest.memory.fd, 0);
      guest.raw.kick(transmitq);
      guest.disconnect();
      const next = await stage.attacker(format);
      await stage.hear(next);
      next.disconnect();
    }
  },
};

export const labours = { longChains, emptyDescriptors, costlyBuffers, lateReports };

export const makersOfWork: readonly Attack[] = formats.flatMap((format): Attack[] => [
  ...Object.values(labours).map((labour) => ({
    class: labour.class,
    format,
    name: labour.name,
    strike: (stage: Stage) => labour.strike(stage, format),
  })),
  {
    class: 26,
    format,
    name: 'an inflight region again and again, and all of them kept',
    strike: async (stage) => void (await keepRegions(stage, format)),
  },
]);
