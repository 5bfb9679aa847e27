/**
 * What a session is, as the shortest list of requests that leads there from its beginning: told to
 * a fresh session, in another process perhaps, it goes on where this one is, and the frontend
 * notices nothing.
 *
 * So there is one description of a session, the protocol's; whoever goes on checks it as it checks
 * a frontend, and no field of a device can be forgotten in a second list of fields. Files are named
 * by what they are to the session (FileRole); whoever made the snapshot has them by these names.
 *
 * Where a ring is that runs, only the data plane knows, which has to stop it to be exact. Without
 * that, as after a process was killed, a split ring tells by its used index: the data plane returns
 * chains in the order of the ring and holds none between rounds. What it had taken and not returned
 * is taken again. A packed ring keeps its place nowhere.
 *
 * Left out is what a frontend is owed an answer for, since snapshots are made between messages, and
 * a broken ring's breach, into which the next data plane runs again. In-band notifications have
 * messages under way on the backend channel at any time: such a session has no snapshot.
 *
 * Pure. Sources: vhost-user "Front-end message types"; virtio 1.2 §2.7.8 (used index).
 */

import type { MemoryRegion, RingAddresses } from '../native/addon.ts';
import { migrationFlag } from './config-space.ts';
import { protocolFeatures, virtioFeatures } from './features.ts';
import {
  configHeadBytes,
  configSpanLayout,
  emptyLayout,
  type LogArea,
  logAreaLayout,
  memoryRegionLayout,
  memoryTableLayout,
  memoryTableRegionsMax,
  type RequestName,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringLogFlag,
  vringStateLayout,
} from './message.ts';
import type { Notification, RingFacts, RingState } from './ring.ts';

/** What a file is to its session. */
export type FileRole =
  | 'log'
  | 'channel'
  | `memory ${string}`
  | `kick ${number}`
  | `call ${number}`
  | `err ${number}`;

export const memoryRole = ({ guestAddress }: MemoryRegion): FileRole =>
  `memory 0x${guestAddress.toString(16)}`;

export interface SnapshotRequest {
  readonly name: RequestName;
  readonly payload: Uint8Array;
  /** Files that go along, in order. */
  readonly files: readonly FileRole[];
}

/** A ring that ran when the snapshot was made. */
export interface RunningRing {
  readonly queue: number;
  /** Where its used index is, 16 bits in the file of a region; undefined for a packed ring. */
  readonly usedIndex: { readonly file: FileRole; readonly offsetBytes: bigint } | undefined;
}

export interface SessionSnapshot {
  readonly requests: readonly SnapshotRequest[];
  /** None where all rings were stopped for it. */
  readonly running: readonly RunningRing[];
}

/** What a device knows of itself. */
export interface DeviceFacts {
  readonly isOwned: boolean;
  readonly isOfQemu: boolean;
  readonly features: bigint | undefined;
  readonly offeredFeatures: bigint;
  readonly protocolFeatures: bigint;
  readonly hasChannel: boolean;
  readonly regions: readonly MemoryRegion[];
  readonly log: LogArea | undefined;
  readonly isLogging: boolean;
  readonly mtuBytes: number | undefined;
  readonly mac: Uint8Array | undefined;
  readonly status: bigint;
  readonly rings: readonly RingFacts[];
}

/** In a used ring, the index is behind 16 bits of flags. */
const usedIndexOffset = 2n;
const usedIndexBytes = 2n;

/** `bases` are those of rings that were stopped for the snapshot and are to run on. */
export function snapshotOf(
  device: DeviceFacts,
  bases: ReadonlyMap<number, number>,
): SessionSnapshot {
  return {
    requests: [...deviceRequests(device), ...ringRequests(device, bases), ...lastRequests(device)],
    running: device.rings.flatMap(({ state }, queue) =>
      state.kind === 'stopped' || bases.has(queue) ? [] : [runningRing(device, state, queue)],
    ),
  };
}

/** The request that says where a ring goes on. */
export function baseRequest(queue: number, base: number): SnapshotRequest {
  return request('SET_VRING_BASE', vringStateLayout.encode({ index: queue, num: base }));
}

function request(
  name: RequestName,
  payload: Uint8Array = emptyLayout.encode(null),
  files: readonly FileRole[] = [],
): SnapshotRequest {
  return { name, payload, files };
}

function has(device: DeviceFacts, name: keyof typeof protocolFeatures): boolean {
  return (device.protocolFeatures & protocolFeatures[name]) !== 0n;
}

/** Requests that need a protocol feature, which may have been taken back since. */
function under(
  device: DeviceFacts,
  feature: 'BACKEND_REQ' | 'CONFIGURE_MEM_SLOTS' | 'LOG_SHMFD' | 'MTU' | 'STATUS',
  ...needing: readonly SnapshotRequest[]
): readonly SnapshotRequest[] {
  const name = `VHOST_USER_PROTOCOL_F_${feature}` as const;
  if (has(device, name)) return needing;
  return [
    choice(device.protocolFeatures | protocolFeatures[name]),
    ...needing,
    choice(device.protocolFeatures),
  ];
}

function choice(features: bigint): SnapshotRequest {
  return request('SET_PROTOCOL_FEATURES', u64Layout.encode(features));
}

/** In the order that requests need each other. */
function deviceRequests(device: DeviceFacts): SnapshotRequest[] {
  const { features, log, mtuBytes } = device;
  const logAll = device.isLogging ? virtioFeatures.VHOST_F_LOG_ALL : 0n;
  return [
    // Of QEMU it is known that it asks before it says this (Device.offerProtocol).
    ...(device.isOfQemu ? [request('GET_PROTOCOL_FEATURES')] : []),
    ...(device.isOwned ? [request('SET_OWNER')] : []),
    choice(device.protocolFeatures),
    ...(device.hasChannel
      ? under(device, 'BACKEND_REQ', request('SET_BACKEND_REQ_FD', undefined, ['channel']))
      : []),
    ...memoryRequests(device),
    ...(log === undefined
      ? []
      : under(device, 'LOG_SHMFD', request('SET_LOG_BASE', logAreaLayout.encode(log), ['log']))),
    ...(features === undefined
      ? []
      : [request('SET_FEATURES', u64Layout.encode(features | logAll))]),
    ...(mtuBytes === undefined
      ? []
      : under(device, 'MTU', request('NET_SET_MTU', u64Layout.encode(BigInt(mtuBytes))))),
  ];
}

function memoryRequests(device: DeviceFacts): readonly SnapshotRequest[] {
  const { regions } = device;
  const slots = 'CONFIGURE_MEM_SLOTS';
  const fitTable =
    regions.length <= memoryTableRegionsMax && new Set(regions).size === regions.length;
  if (has(device, `VHOST_USER_PROTOCOL_F_${slots}`) || !fitTable) {
    const added = regions.map((region) =>
      request('ADD_MEM_REG', memoryRegionLayout.encode(region), [memoryRole(region)]),
    );
    return under(device, slots, ...added);
  }
  if (regions.length === 0) return [];
  return [request('SET_MEM_TABLE', memoryTableLayout.encode(regions), regions.map(memoryRole))];
}

function ringRequests(
  device: DeviceFacts,
  bases: ReadonlyMap<number, number>,
): readonly SnapshotRequest[] {
  const enabling = (device.features ?? device.offeredFeatures) & protocolBit;
  return device.rings.flatMap(({ state, enabled, call, err }, index) => {
    const base = bases.get(index) ?? (state.kind === 'stopped' ? state.base : undefined);
    const { size, addresses } = state;
    const runs = state.kind !== 'stopped';
    return [
      ...notification('SET_VRING_ERR', index, err, `err ${index}`),
      ...(size === undefined
        ? []
        : [request('SET_VRING_NUM', vringStateLayout.encode({ index, num: size }))]),
      ...(base === undefined ? [] : [baseRequest(index, base)]),
      ...(addresses === undefined ? [] : [addressesRequest(index, addresses)]),
      ...(enabled && enabling !== 0n
        ? [request('SET_VRING_ENABLE', vringStateLayout.encode({ index, num: 1 }))]
        : []),
      ...(runs ? notification('SET_VRING_KICK', index, state.kick, `kick ${index}`) : []),
      // Last: the driver of a ring that runs is called then, for what it may have missed.
      ...notification('SET_VRING_CALL', index, call, `call ${index}`),
    ];
  });
}

const protocolBit = virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;

function notification(
  name: 'SET_VRING_KICK' | 'SET_VRING_CALL' | 'SET_VRING_ERR',
  index: number,
  where: Notification,
  file: FileRole,
): SnapshotRequest[] {
  if (where === 'unsaid' || where === 'in-band') return [];
  const hasFd = where === 'eventfd';
  return [request(name, vringFdLayout.encode({ index, hasFd }), hasFd ? [file] : [])];
}

function addressesRequest(index: number, addresses: RingAddresses): SnapshotRequest {
  const { desc, avail, used, usedLogAddress } = addresses;
  const flags = usedLogAddress === undefined ? 0 : vringLogFlag;
  const log = usedLogAddress ?? 0n;
  const payload = vringAddressesLayout.encode({ index, desc, avail, used, flags, log });
  return request('SET_VRING_ADDR', payload);
}

function lastRequests(device: DeviceFacts): SnapshotRequest[] {
  const { mac, status } = device;
  const span = (bytes: Uint8Array) => ({
    offsetBytes: 0,
    sizeBytes: bytes.length,
    flags: migrationFlag,
    bytes,
    wireBytes: configHeadBytes + bytes.length,
  });
  return [
    ...(mac === undefined ? [] : [request('SET_CONFIG', configSpanLayout.encode(span(mac)))]),
    ...(status === 0n
      ? []
      : under(device, 'STATUS', request('SET_STATUS', u64Layout.encode(status)))),
  ];
}

function runningRing(
  device: DeviceFacts,
  { addresses }: Exclude<RingState, { kind: 'stopped' }>,
  queue: number,
): RunningRing {
  const isPacked = ((device.features ?? 0n) & virtioFeatures.VIRTIO_F_RING_PACKED) !== 0n;
  const at = addresses.used + usedIndexOffset;
  const region = device.regions.find(
    ({ userAddress, sizeBytes }) =>
      at >= userAddress && at + usedIndexBytes <= userAddress + sizeBytes,
  );
  if (isPacked || region === undefined) return { queue, usedIndex: undefined };
  const offsetBytes = region.mmapOffset + (at - region.userAddress);
  return { queue, usedIndex: { file: memoryRole(region), offsetBytes } };
}
