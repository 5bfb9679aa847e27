/**
 * The table: one row per request a frontend may send to this backend.
 *
 * A row says how long the payload is, how many fds come with it, what must have been negotiated,
 * which queue it is about and what it does. The dispatcher of session.ts does all checking from
 * these facts, in one order, so a handler sees only well-formed calls. Handlers return the payload
 * of the reply for requests that have one of their own; the others are acknowledged by the
 * dispatcher.
 *
 * Left out because nothing offered makes them legal: IOTLB, postcopy, shared objects, device state.
 * VRING_ENDIAN and the crypto sessions are of no use to a network device.
 *
 * Sources: vhost-user "Front-end message types". What QEMU 7 to 11 (hw/virtio/vhost-user.c) and
 * DPDK virtio-user send was read there.
 */

import type { Device, Requirement } from './device.ts';
import { checkReturnedInflight } from './inflight.ts';
import { memorySlotsMax } from './memory.ts';
import {
  configSpanLayout,
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
  type VringFd,
  type VringState,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from './message.ts';
import { refusal } from './refusal.ts';

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** The fds of one message: each is taken once, or closed by the dispatcher when it is done. */
export class ReceivedFds {
  readonly #fds: number[];

  constructor(fds: readonly number[]) {
    this.#fds = [...fds];
  }

  get count(): number {
    return this.#fds.length;
  }

  /** The next fd, which from now on is the caller's. */
  take(): number {
    const fd = this.#fds.shift();
    if (fd === undefined) throw new RangeError('more fds taken than the row allows');
    return fd;
  }
}

/** A reply of a request's own. */
export interface Answer {
  readonly payload: Uint8Array;
  /** Goes along with the reply, and is closed here afterwards. */
  readonly fd?: number | undefined;
}

/** A decoded request: everything the dispatcher still checks, and the deed. */
export interface Call {
  readonly fdCount: Bounds;
  /** The queue index as sent, in range or not; undefined where the request is about no queue. */
  readonly queue: number | undefined;
  run(device: Device, fds: ReceivedFds): Answer | undefined;
}

export interface RequestRow {
  readonly number: number;
  readonly name: RequestName;
  readonly payloadBytes: Bounds;
  readonly requires: Requirement | undefined;
  /** True where the request has a reply of its own and so is never acknowledged. */
  readonly replies: boolean;
  /** How too few fds are to be understood, where it says more than a wrong number. */
  readonly fdsMissing: 'memory-without-file' | undefined;
  /** Undefined where the payload is shorter than what it counts. */
  read(payload: Uint8Array): Call | undefined;
}

/** Throws Refusal if another number of fds came along than `min` to `max`. */
export function checkFdCount(row: RequestRow, { min, max }: Bounds, count: number): void {
  if (count >= min && count <= max) return;
  if (count === 0 && row.fdsMissing !== undefined) {
    throw refusal(row.fdsMissing);
  }
  throw min === max
    ? refusal('fds-not-exact', { count, expected: min })
    : refusal('fds-not-within', { count, min, max });
}

interface RowFacts<P> {
  readonly layout: Layout<P>;
  readonly requires?: Requirement;
  readonly fds?: (payload: P) => Bounds;
  readonly fdsMissing?: RequestRow['fdsMissing'];
  readonly queue?: (payload: P) => number;
}

/** A request either changes something or answers with a payload of its own. */
type Handler<P> =
  | { readonly act: (device: Device, payload: P, fds: ReceivedFds) => void }
  | { readonly answer: (device: Device, payload: P, fds: ReceivedFds) => Answer };

function row<P>(name: RequestName, facts: RowFacts<P> & Handler<P>): RequestRow {
  const { layout, requires, fdsMissing, fds = noFds, queue } = facts;
  return {
    number: requestNumbers[name],
    name,
    payloadBytes: { min: layout.bytesMin, max: layout.bytesMax },
    requires,
    replies: 'answer' in facts,
    fdsMissing,
    read(bytes) {
      const payload = layout.decode(bytes);
      if (payload === undefined) return undefined;
      return {
        fdCount: fds(payload),
        queue: queue?.(payload),
        run(device, received) {
          if ('answer' in facts) return facts.answer(device, payload, received);
          facts.act(device, payload, received);
          return undefined;
        },
      };
    },
  };
}

const noFds = (): Bounds => ({ min: 0, max: 0 });
const oneFd = (): Bounds => ({ min: 1, max: 1 });
const vringFds = ({ hasFd }: VringFd): Bounds => (hasFd ? oneFd() : noFds());
const indexOf = ({ index }: { readonly index: number }): number => index;
const enableValues: ReadonlyMap<number, boolean> = new Map([
  [0, false],
  [1, true],
]);

function enableRing(device: Device, { index, num }: VringState): void {
  const enabled = enableValues.get(num);
  if (enabled === undefined) throw refusal('enable-neither-0-nor-1', { value: num });
  device.enableRing(index, enabled);
}

function kickRing(device: Device, { index, num }: VringState): void {
  if (num !== 0) throw refusal('value-reserved', { value: num });
  device.kickRing(index);
}

function answerU64(value: bigint): Answer {
  return { payload: u64Layout.encode(value) };
}

/** The eventfd of a SET_VRING_* request, or -1 where it says that none is coming. */
function takeVringFd({ hasFd }: VringFd, fds: ReceivedFds): number {
  return hasFd ? fds.take() : -1;
}

const rows: readonly RequestRow[] = [
  row('GET_FEATURES', {
    layout: emptyLayout,
    answer: (device) => answerU64(device.offered.virtio),
  }),
  row('SET_FEATURES', {
    layout: u64Layout,
    act: (device, features) => device.setFeatures(features),
  }),
  // Connecting is what takes ownership here: a port serves one frontend at a time.
  row('SET_OWNER', { layout: emptyLayout, act: (device) => device.setOwner() }),
  // Deprecated, and best ignored: without SET_VRING_ENABLE nothing would enable the rings again.
  row('RESET_OWNER', { layout: emptyLayout, act: () => {} }),
  row('SET_MEM_TABLE', {
    layout: memoryTableLayout,
    fds: (regions) => ({ min: regions.length, max: regions.length }),
    fdsMissing: 'memory-without-file',
    act: (device, regions, fds) => device.setMemory(regions, () => fds.take()),
  }),
  // Answered, whether asked to or not; QEMU looks at nothing but the request number of the reply.
  row('SET_LOG_BASE', {
    layout: logAreaLayout,
    requires: 'VHOST_USER_PROTOCOL_F_LOG_SHMFD',
    fds: oneFd,
    answer(device, log, fds) {
      device.setLog(log, () => fds.take());
      return answerU64(0n);
    },
  }),
  // An eventfd to tell of changes to the log. Nobody has to be told: frontends read the log in
  // turns.
  row('SET_LOG_FD', { layout: emptyLayout, fds: oneFd, act: () => {} }),
  row('SET_VRING_NUM', {
    layout: vringStateLayout,
    queue: indexOf,
    act: (device, { index, num }) => device.ring(index).setSize(num),
  }),
  row('SET_VRING_ADDR', {
    layout: vringAddressesLayout,
    queue: indexOf,
    act: (device, addresses) => device.setRingAddresses(addresses.index, addresses),
  }),
  row('SET_VRING_BASE', {
    layout: vringStateLayout,
    queue: indexOf,
    act: (device, { index, num }) => device.ring(index).setBase(num),
  }),
  row('GET_VRING_BASE', {
    layout: vringStateLayout,
    queue: indexOf,
    answer: (device, { index }) => ({
      payload: vringStateLayout.encode({ index, num: device.ring(index).stop() }),
    }),
  }),
  row('SET_VRING_KICK', {
    layout: vringFdLayout,
    fds: vringFds,
    queue: indexOf,
    act: (device, payload, fds) => device.startRing(payload.index, () => takeVringFd(payload, fds)),
  }),
  row('SET_VRING_CALL', {
    layout: vringFdLayout,
    fds: vringFds,
    queue: indexOf,
    act: (device, payload, fds) => device.ring(payload.index).setCall(takeVringFd(payload, fds)),
  }),
  row('SET_VRING_ERR', {
    layout: vringFdLayout,
    fds: vringFds,
    queue: indexOf,
    act: (device, payload, fds) => device.ring(payload.index).setErr(takeVringFd(payload, fds)),
  }),
  // Legal before SET_FEATURES: bit 30 has to be offered, not agreed.
  row('GET_PROTOCOL_FEATURES', {
    layout: emptyLayout,
    answer: (device) => answerU64(device.offerProtocol()),
  }),
  row('SET_PROTOCOL_FEATURES', {
    layout: u64Layout,
    act: (device, features) => device.setProtocolFeatures(features),
  }),
  // Asks for queue pairs. Legal once a frontend has seen MQ offered, which it always is.
  row('GET_QUEUE_NUM', {
    layout: emptyLayout,
    answer: (device) => answerU64(BigInt(device.queuePairs)),
  }),
  row('SET_VRING_ENABLE', {
    layout: vringStateLayout,
    requires: 'VHOST_USER_F_PROTOCOL_FEATURES',
    queue: indexOf,
    act: enableRing,
  }),
  row('SEND_RARP', {
    layout: macLayout,
    requires: 'VHOST_USER_PROTOCOL_F_RARP',
    act: (device, mac) => device.announce(mac),
  }),
  row('NET_SET_MTU', {
    layout: u64Layout,
    requires: 'VHOST_USER_PROTOCOL_F_MTU',
    act: (device, bytes) => device.setMtu(bytes),
  }),
  row('SET_BACKEND_REQ_FD', {
    layout: emptyLayout,
    requires: 'VHOST_USER_PROTOCOL_F_BACKEND_REQ',
    fds: oneFd,
    act: (device, _, fds) => device.setBackendChannel(fds.take()),
  }),
  row('GET_CONFIG', {
    layout: configSpanLayout,
    requires: 'VHOST_USER_PROTOCOL_F_CONFIG',
    answer: (device, span) => ({
      payload: configSpanLayout.encode({ ...span, bytes: device.config.read(span) }),
    }),
  }),
  row('SET_CONFIG', {
    layout: configSpanLayout,
    requires: 'VHOST_USER_PROTOCOL_F_CONFIG',
    act: (device, span) => device.config.write(span, device.features ?? 0n),
  }),
  row('GET_INFLIGHT_FD', {
    layout: inflightAreaLayout,
    requires: 'VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD',
    answer(device, wanted) {
      const { area, fd } = device.createInflight(wanted);
      return { payload: inflightAreaLayout.encode(area), fd };
    },
  }),
  row('SET_INFLIGHT_FD', {
    layout: inflightAreaLayout,
    requires: 'VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD',
    fds: oneFd,
    // The region comes back when the frontend starts the device; going on needs nothing in it.
    act: (device, area) => checkReturnedInflight(area, device.ringCount),
  }),
  row('RESET_DEVICE', {
    layout: emptyLayout,
    requires: 'VHOST_USER_PROTOCOL_F_RESET_DEVICE',
    act: (device) => device.reset(),
  }),
  row('VRING_KICK', {
    layout: vringStateLayout,
    requires: 'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS',
    queue: indexOf,
    act: kickRing,
  }),
  row('GET_MAX_MEM_SLOTS', {
    layout: emptyLayout,
    requires: 'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    answer: () => answerU64(BigInt(memorySlotsMax)),
  }),
  // The reply with a region is for postcopy only; otherwise this is acknowledged like the rest.
  row('ADD_MEM_REG', {
    layout: memoryRegionLayout,
    requires: 'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    fds: oneFd,
    fdsMissing: 'memory-without-file',
    act: (device, region, fds) => device.addMemory(region, () => fds.take()),
  }),
  // Some frontends send the fd of the region along; it is to be closed unused.
  row('REM_MEM_REG', {
    layout: memoryRegionLayout,
    requires: 'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    fds: () => ({ min: 0, max: 1 }),
    act: (device, region) => device.removeMemory(region),
  }),
  row('SET_STATUS', {
    layout: u64Layout,
    requires: 'VHOST_USER_PROTOCOL_F_STATUS',
    act: (device, status) => device.setStatus(status),
  }),
  row('GET_STATUS', {
    layout: emptyLayout,
    requires: 'VHOST_USER_PROTOCOL_F_STATUS',
    answer: (device) => answerU64(device.status),
  }),
];

export const requestTable: ReadonlyMap<number, RequestRow> = new Map(
  rows.map((entry) => [entry.number, entry]),
);
