/**
 * Requests a frontend may make, sensible and not, each with what the model of a session makes of
 * it.
 *
 * The numbers are chosen so that some fit together: two regions of one file, rings that lie in the
 * first, and around each of them what is just too large, off its alignment, or nowhere.
 */

import fc from 'fast-check';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  emptyLayout,
  inflightAreaLayout,
  type Layout,
  logAreaLayout,
  macLayout,
  memoryRegionLayout,
  memoryTableLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { generousOffer as offer } from '../support/network.ts';
import type { SessionModel, Verdict } from './session-model.ts';

export const fileBytes = 0x10_0000n;
const userBase = 0x7f00_0000_0000n;

const region = (guestAddress: bigint, sizeBytes: bigint, mmapOffset = 0n) => ({
  guestAddress,
  sizeBytes,
  userAddress: userBase + guestAddress,
  mmapOffset,
});
const regions = [
  region(0x1_0000n, 0x4_0000n),
  region(0x10_0000n, 0x4_0000n, 0x8_0000n),
  region(0x2_0000n, 0x1000n), // overlaps the first
  region(0x40_0000n, 0x4_0000n, 0xf_0000n), // behind the end of the file
  region(0x50_0000n, 0n),
];

/** A request, and what the model makes of it; undefined where it is not to be sent. */
export interface Step {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly fds: readonly ('memory' | 'eventfd')[];
  readonly judge: (model: SessionModel) => Verdict | undefined;
}

function step<T>(
  name: RequestName,
  layout: Layout<T>,
  value: T,
  judge: Step['judge'],
  fds: Step['fds'] = [],
): Step {
  return { request: requestNumbers[name], payload: layout.encode(value), fds, judge };
}

/** Refused unless `feature` was agreed on. */
function needs(feature: keyof typeof protocolFeatures, judge: Step['judge']): Step['judge'] {
  return (model) => (model.has(feature) ? judge(model) : 'refuse');
}

/** Refused for a queue that does not exist. */
function ofQueue(index: number, judge: Step['judge']): Step['judge'] {
  return (model) => (model.rings[index] === undefined ? 'refuse' : judge(model));
}

const accept = () => 'accept' as const;
const { VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VHOST_F_LOG_ALL } = virtioFeatures;
const modern = VIRTIO_F_VERSION_1 | virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;
const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_BACKEND_REQ } = protocolFeatures;

const knownQueue = fc.nat(1);
const queue = fc.constantFrom(0, 0, 0, 1, 1, 1, 0x100);
const someRegion = fc.constantFrom(...regions, regions[0]!, regions[1]!);
/** A ring's parts: in the first region, too high for a large ring, off their alignment, nowhere. */
const desc = fc.constantFrom(0x1_0000n, 0x1_0000n, 0x4_e000n, 0x1_0008n, 0x90_0000n);

function startOf(index: number): Step['judge'] {
  return (model) => (model.wouldBreak(index) ? undefined : model.start(index));
}

const sizeStep = (index: number, num: number) =>
  step('SET_VRING_NUM', vringStateLayout, { index, num }, (model) => model.setSize(index, num));

function addressStep(index: number, at: bigint): Step {
  const begin = userBase + at;
  const addresses = { desc: begin, avail: begin + 0x1000n, used: begin + 0x2000n };
  const payload = { index, flags: 0, log: 0n, ...addresses };
  return step('SET_VRING_ADDR', vringAddressesLayout, payload, (model) =>
    model.setAddresses(index, addresses),
  );
}

function kickStep(index: number, hasFd: boolean): Step {
  const fds = hasFd ? (['eventfd'] as const) : [];
  return step('SET_VRING_KICK', vringFdLayout, { index, hasFd }, startOf(index), fds);
}

function inflight(queues: number, queueSize: number, sizeBytes = 0n) {
  return { sizeBytes, offsetBytes: 0n, queues, queueSize, wireBytes: 24 };
}
const inflightBytes = (queues: number, queueSize: number) =>
  BigInt(queues * Math.ceil((16 + 16 * queueSize) / 64) * 64);

export const steps: fc.Arbitrary<Step>[] = [
  fc.constantFrom(
    step('GET_FEATURES', emptyLayout, null, () => ({ answer: offer.virtio })),
    step('GET_PROTOCOL_FEATURES', emptyLayout, null, (model) => ({
      answer: model.offerProtocol(),
    })),
    step('SET_OWNER', emptyLayout, null, (model) => model.setOwner()),
    step('RESET_OWNER', emptyLayout, null, accept),
    step('SET_LOG_FD', emptyLayout, null, accept, ['eventfd']),
    step(
      'GET_MAX_MEM_SLOTS',
      emptyLayout,
      null,
      needs('VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS', () => ({ answer: 509n })),
    ),
    step(
      'GET_STATUS',
      emptyLayout,
      null,
      needs('VHOST_USER_PROTOCOL_F_STATUS', ({ status }) => ({ answer: status })),
    ),
    step(
      'RESET_DEVICE',
      emptyLayout,
      null,
      needs('VHOST_USER_PROTOCOL_F_RESET_DEVICE', (model) => model.reset()),
    ),
  ),
  fc
    .constantFrom(
      ...[modern, modern | VIRTIO_F_RING_PACKED, modern | VHOST_F_LOG_ALL],
      ...[VIRTIO_F_VERSION_1, 0n, offer.virtio, 1n << 50n],
    )
    .map((bits) => step('SET_FEATURES', u64Layout, bits, (model) => model.setFeatures(bits))),
  fc
    .constantFrom(
      ...[offer.protocol, offer.protocol & ~VHOST_USER_PROTOCOL_F_REPLY_ACK],
      ...[offer.protocol & ~VHOST_USER_PROTOCOL_F_BACKEND_REQ, 0n, 1n << 19n],
    )
    .map((bits) =>
      step('SET_PROTOCOL_FEATURES', u64Layout, bits, (model) => model.setProtocolFeatures(bits)),
    ),
  fc.constantFrom(0n, 1n, 0xbn, 0xfn, 0x100n).map((status) =>
    step(
      'SET_STATUS',
      u64Layout,
      status,
      needs('VHOST_USER_PROTOCOL_F_STATUS', (model) => model.setStatus(status)),
    ),
  ),
  fc.array(someRegion, { maxLength: 3 }).map((list) =>
    step(
      'SET_MEM_TABLE',
      memoryTableLayout,
      list,
      (model) => model.setMemory(list, fileBytes),
      list.map(() => 'memory' as const),
    ),
  ),
  someRegion.map((added) =>
    step(
      'ADD_MEM_REG',
      memoryRegionLayout,
      added,
      needs('VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS', (model) =>
        model.addMemory(added, fileBytes),
      ),
      ['memory'],
    ),
  ),
  someRegion.map((removed) =>
    step(
      'REM_MEM_REG',
      memoryRegionLayout,
      removed,
      needs('VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS', (model) => model.removeMemory(removed)),
    ),
  ),
  fc
    .tuple(queue, fc.constantFrom(256, 256, 1, 3, 0, 32768, 32769))
    .map(([index, size]) => sizeStep(index, size)),
  fc
    .tuple(queue, fc.constantFrom(0, 0, 5, 0x8005, 0x10000))
    .map(([index, num]) =>
      step('SET_VRING_BASE', vringStateLayout, { index, num }, (model) =>
        model.setBase(index, num),
      ),
    ),
  fc.tuple(queue, desc).map(([index, at]) => addressStep(index, at)),
  fc.tuple(knownQueue, fc.boolean()).map(([index, hasFd]) => kickStep(index, hasFd)),
  fc
    .tuple(fc.constantFrom('SET_VRING_CALL', 'SET_VRING_ERR'), knownQueue, fc.boolean())
    .map(([name, index, hasFd]) =>
      step(name, vringFdLayout, { index, hasFd }, accept, hasFd ? ['eventfd'] : []),
    ),
  queue.map((index) =>
    step('GET_VRING_BASE', vringStateLayout, { index, num: 0 }, (model) => {
      const stopped = model.stop(index);
      if (stopped === 'refuse') return 'refuse';
      return { answer: vringStateLayout.encode({ index, num: stopped.base }) };
    }),
  ),
  fc.tuple(queue, fc.constantFrom(0, 1, 1, 2)).map(([index, num]) =>
    step(
      'SET_VRING_ENABLE',
      vringStateLayout,
      { index, num },
      ofQueue(index, (model) => (num < 2 && model.ringsMayBeEnabled ? 'accept' : 'refuse')),
    ),
  ),
  fc.tuple(queue, fc.constantFrom(0, 0, 1)).map(([index, num]) =>
    step(
      'VRING_KICK',
      vringStateLayout,
      { index, num },
      needs(
        'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS',
        ofQueue(index, (model) => {
          if (num !== 0 || model.features === undefined) return 'refuse';
          return model.rings[index]!.started ? 'accept' : startOf(index)(model);
        }),
      ),
    ),
  ),
  fc.constantFrom(67n, 68n, 1500n, 65535n, 65536n).map((mtu) =>
    step(
      'NET_SET_MTU',
      u64Layout,
      mtu,
      needs('VHOST_USER_PROTOCOL_F_MTU', () => (mtu >= 68n && mtu < 65536n ? 'accept' : 'refuse')),
    ),
  ),
  fc.constantFrom(0, 0x5254_0000_0001, 0x0100_5e00_0001).map((mac) =>
    step(
      'SEND_RARP',
      macLayout,
      mac,
      needs('VHOST_USER_PROTOCOL_F_RARP', () => (mac > 2 ** 46 ? 'accept' : 'refuse')),
    ),
  ),
  fc.constantFrom(0n, 0x1_0000n).map((sizeBytes) =>
    step(
      'SET_LOG_BASE',
      logAreaLayout,
      { sizeBytes, offsetBytes: 0n },
      needs('VHOST_USER_PROTOCOL_F_LOG_SHMFD', () => (sizeBytes > 0n ? { answer: 0n } : 'refuse')),
      ['memory'],
    ),
  ),
  fc.tuple(fc.constantFrom(0, 2, 256, 257), fc.constantFrom(0, 1, 256, 32769)).map(([n, size]) =>
    step(
      'GET_INFLIGHT_FD',
      inflightAreaLayout,
      inflight(n, size),
      needs('VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD', (model) => {
        if (n < 1 || n > 256 || size < 1 || size > 32768) return 'refuse';
        const sizeBytes = model.agreedToPacked ? 0n : inflightBytes(n, size);
        return { answer: inflightAreaLayout.encode(inflight(n, size, sizeBytes)) };
      }),
    ),
  ),
  fc.constantFrom(0n, inflightBytes(2, 256)).map((sizeBytes) =>
    step(
      'SET_INFLIGHT_FD',
      inflightAreaLayout,
      inflight(2, 256, sizeBytes),
      needs('VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD', () => (sizeBytes > 0n ? 'accept' : 'refuse')),
      ['memory'],
    ),
  ),
  fc.constantFrom(4, 22, 33, 41, 1000).map((request) => ({
    request,
    payload: new Uint8Array(8),
    fds: [],
    judge: () => 'refuse',
  })),
];

/** A ring's start as frontends make it. */
export const start = knownQueue.map((index) => [
  ...[sizeStep(index, 256), addressStep(index, 0x1_0000n + BigInt(index) * 0x4000n)],
  kickStep(index, true),
]);

/** Sequences that come far: what every frontend says first, and then anything. */
export const opening: readonly Step[] = [
  step('SET_PROTOCOL_FEATURES', u64Layout, offer.protocol, (m) =>
    m.setProtocolFeatures(offer.protocol),
  ),
  step('SET_FEATURES', u64Layout, modern, (model) => model.setFeatures(modern)),
  step(
    'SET_MEM_TABLE',
    memoryTableLayout,
    [regions[0]!],
    (m) => m.setMemory([regions[0]!], fileBytes),
    ['memory'],
  ),
];
