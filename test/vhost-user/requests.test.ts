/**
 * Walks the table: what the dispatcher owes every request, proved of every row.
 */

import { describe, expect, test } from 'vitest';
import { codeOf } from '../../src/model/faults/table.ts';
import { protocolFeatures, servable, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  configSpanLayout,
  inflightAreaLayout,
  logAreaLayout,
  macLayout,
  memoryRegionLayout,
  memoryTableLayout,
  payloadBytesMax,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { type RequestRow, requestTable } from '../../src/vhost-user/requests.ts';
import { everything, Recording, region, ringAddresses } from './recording.ts';

const splitFeatures = servable.virtio & ~virtioFeatures.VIRTIO_F_RING_PACKED;

interface Sample {
  readonly payload: Uint8Array;
  readonly fds: number;
  /** The same request about a queue out of range. */
  readonly outOfRange?: Uint8Array;
  /** How many bytes of room the payload may have behind what it counts; none unless given. */
  readonly roomBytesMax?: number;
  /** What has to be said before the request can succeed. */
  readonly before?: (recording: Recording) => void;
}

const none: Sample = { payload: new Uint8Array(0), fds: 0 };
const word = (value: bigint): Sample => ({ payload: u64Layout.encode(value), fds: 0 });
const queueOut = 2;

function state(num: number): Sample {
  return {
    payload: vringStateLayout.encode({ index: 0, num }),
    fds: 0,
    outOfRange: vringStateLayout.encode({ index: queueOut, num }),
  };
}

const eventfd: Sample = {
  payload: vringFdLayout.encode({ index: 0, hasFd: true }),
  fds: 1,
  outOfRange: vringFdLayout.encode({ index: queueOut, hasFd: true }),
};

/** What a ring needs before it can start. */
function configureRing(recording: Recording): void {
  recording.memory();
  recording.vring('SET_VRING_NUM', 0, 256);
  recording.address(0);
}

const inflight = inflightAreaLayout.encode({
  sizeBytes: 1n << 20n,
  offsetBytes: 0n,
  queues: 2,
  queueSize: 256,
  wireBytes: 20,
});
const inflightRoomBytes = 4;

/** The bytes of the MAC address. */
function config(flags: number): Sample {
  const span = { offsetBytes: 0, sizeBytes: 6, flags, wireBytes: 18 };
  const bytes = Uint8Array.of(2, 0, 0, 0, 0, 1);
  return { payload: configSpanLayout.encode({ ...span, bytes }), fds: 0 };
}

function address(index: number): Uint8Array {
  return vringAddressesLayout.encode({ index, flags: 0, log: 0n, ...ringAddresses(0) });
}

/** One request of each kind that succeeds after `negotiate()`. */
const samples: Record<RequestName, Sample> = {
  GET_FEATURES: none,
  SET_FEATURES: word(splitFeatures),
  SET_OWNER: none,
  RESET_OWNER: none,
  SET_MEM_TABLE: {
    payload: memoryTableLayout.encode([region]),
    fds: 1,
    roomBytesMax: payloadBytesMax - 40,
  },
  SET_LOG_BASE: {
    payload: logAreaLayout.encode({ sizeBytes: 0x1000n, offsetBytes: 0n }),
    fds: 1,
  },
  SET_LOG_FD: { ...none, fds: 1 },
  SET_VRING_NUM: state(256),
  SET_VRING_ADDR: { payload: address(0), fds: 0, outOfRange: address(queueOut) },
  SET_VRING_BASE: state(0),
  GET_VRING_BASE: state(0),
  SET_VRING_KICK: { ...eventfd, before: configureRing },
  SET_VRING_CALL: eventfd,
  SET_VRING_ERR: eventfd,
  GET_PROTOCOL_FEATURES: none,
  SET_PROTOCOL_FEATURES: word(servable.protocol),
  GET_QUEUE_NUM: none,
  SET_VRING_ENABLE: state(1),
  SEND_RARP: { payload: macLayout.encode(0x525400000001), fds: 0 },
  NET_SET_MTU: word(1500n),
  SET_BACKEND_REQ_FD: { ...none, fds: 1 },
  GET_CONFIG: { ...config(0), roomBytesMax: payloadBytesMax - 18 },
  SET_CONFIG: { ...config(1), roomBytesMax: payloadBytesMax - 18 },
  GET_INFLIGHT_FD: { payload: inflight, fds: 0, roomBytesMax: inflightRoomBytes },
  SET_INFLIGHT_FD: { payload: inflight, fds: 1, roomBytesMax: inflightRoomBytes },
  RESET_DEVICE: none,
  VRING_KICK: { ...state(0), before: configureRing },
  GET_MAX_MEM_SLOTS: none,
  ADD_MEM_REG: { payload: memoryRegionLayout.encode(region), fds: 1 },
  REM_MEM_REG: {
    payload: memoryRegionLayout.encode(region),
    fds: 0,
    before: (recording) => recording.memory(),
  },
  SET_STATUS: word(1n),
  GET_STATUS: none,
};

const rows: [RequestName, RequestRow][] = [...requestTable.values()].map((row) => [row.name, row]);

function prepared(name: RequestName): Recording {
  const recording = everything();
  samples[name].before?.(recording);
  expect(recording.open).toBe(true);
  return recording;
}

function expectSettled(recording: Recording): void {
  expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
}

describe.each(rows)('%s', (name, row) => {
  const sample = samples[name];

  test('has the number of the specification', () => {
    expect(row.number).toBe(requestNumbers[name]);
  });

  test('succeeds as it should be sent, and says so when asked', () => {
    const recording = prepared(name);
    const reply = recording.send(name, {
      payload: sample.payload,
      fds: recording.fds(sample.fds),
      needReply: true,
    });
    expect(recording.open).toBe(true);
    expect(reply?.request).toBe(row.number);
    expect(reply?.flags).toBe(0x5);
    if (!row.replies) expect(reply?.payload).toEqual(u64Layout.encode(0n));
    recording.session.close();
    expectSettled(recording);
  });

  test('says nothing unless asked or due a reply of its own', () => {
    const recording = prepared(name);
    const before = recording.replies.length;
    recording.send(name, { payload: sample.payload, fds: recording.fds(sample.fds) });
    expect(recording.open).toBe(true);
    expect(recording.replies.length - before).toBe(row.replies ? 1 : 0);
  });

  test('is refused with a payload one byte too long', () => {
    const sizeBytes = sample.payload.length + (sample.roomBytesMax ?? 0) + 1;
    // What is longer than any payload is refused with its header.
    if (sizeBytes <= payloadBytesMax) expectWrongSize(name, sizeBytes);
  });

  test('is refused with more fds than it takes, and they are closed', () => {
    const recording = prepared(name);
    const max = name === 'REM_MEM_REG' ? 1 : sample.fds;
    recording.send(name, { payload: sample.payload, fds: recording.fds(max + 1) });
    expect(recording.refusal).toBe('BAD_FDS');
    expectSettled(recording);
  });
});

function expectWrongSize(name: RequestName, sizeBytes: number): void {
  const recording = prepared(name);
  const { payload, fds } = samples[name];
  const wrong = new Uint8Array(sizeBytes);
  wrong.set(payload.subarray(0, sizeBytes));
  recording.send(name, { payload: wrong, fds: recording.fds(fds) });
  expect(recording.refusal).toBe('BAD_SIZE');
  expectSettled(recording);
}

describe.each(rows.filter(([name]) => samples[name].roomBytesMax))('%s', (name) => {
  const { payload, roomBytesMax = 0 } = samples[name];

  test.each([1, 32, roomBytesMax])('is read by its count with %d bytes of room behind', (room) => {
    const exact = prepared(name);
    exact.send(name, { payload, fds: exact.fds(samples[name].fds) });
    const roomy = prepared(name);
    const longer = new Uint8Array(payload.length + Math.min(room, roomBytesMax)).fill(0xa5);
    longer.set(payload);
    const reply = roomy.send(name, {
      payload: longer,
      fds: roomy.fds(samples[name].fds),
      needReply: true,
    });
    expect(roomy.open).toBe(true);
    expect(roomy.backend.calls).toEqual(exact.backend.calls);
    expect(reply?.payload.length).toBe(name.startsWith('GET_') ? longer.length : 8);
    roomy.session.close();
    expectSettled(roomy);
  });
});

describe.each(rows.filter(([name]) => samples[name].payload.length > 0))('%s', (name) => {
  test('is refused with a payload one byte too short, and with none', () => {
    expectWrongSize(name, samples[name].payload.length - 1);
    expectWrongSize(name, 0);
  });
});

describe.each(rows.filter(([name]) => samples[name].fds > 0))('%s', (name, row) => {
  test('is refused without its fd', () => {
    const recording = prepared(name);
    recording.send(name, { payload: samples[name].payload });
    expect(recording.refusal).toBe(
      row.fdsMissing === undefined ? 'BAD_FDS' : codeOf(row.fdsMissing),
    );
  });
});

describe.each(rows.filter(([, row]) => row.requires !== undefined))('%s', (name, row) => {
  test('is refused without the feature it needs', () => {
    const recording = new Recording(1, servable);
    const requires = row.requires!;
    // In-band notifications cannot be had without some of the others.
    const { VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS } = protocolFeatures;
    const protocol = servable.protocol & ~VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS;
    if (requires === 'VHOST_USER_F_PROTOCOL_FEATURES') {
      recording.negotiate(splitFeatures & ~virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES);
    } else {
      recording.negotiate(splitFeatures, protocol & ~protocolFeatures[requires]);
    }
    samples[name].before?.(recording);
    const { payload, fds } = samples[name];
    recording.send(name, { payload, fds: recording.fds(fds) });
    expect(recording.refusal).toBe('MISSING_FEATURE');
    expect(recording.sentence).toContain(requires);
    expectSettled(recording);
  });
});

describe.each(rows.filter(([name]) => samples[name].outOfRange))('%s', (name) => {
  test('is refused for a queue the port has not', () => {
    const recording = prepared(name);
    const { outOfRange, fds } = samples[name];
    recording.send(name, { payload: outOfRange!, fds: recording.fds(fds) });
    expect(recording.refusal).toBe('BAD_QUEUE');
    expect(recording.sentence).toBe(`port web1: ${name} for queue 2: this port has queues 0 to 1`);
    expectSettled(recording);
  });
});

describe('the table', () => {
  test('has a row for every request number and a sample for every row', () => {
    expect([...requestTable.keys()].sort((a, b) => a - b)).toEqual(
      Object.values(requestNumbers).sort((a, b) => a - b),
    );
    expect(rows.map(([name]) => name).sort()).toEqual(Object.keys(samples).sort());
  });

  test('asks for a queue exactly in the requests about one', () => {
    const about = rows.filter(([name, row]) => row.read(samples[name].payload)?.queue === 0);
    expect(about.map(([name]) => name)).toEqual(
      rows.map(([name]) => name).filter((name) => name.includes('VRING_')),
    );
  });

  test('has a sample with room for every row whose payload varies', () => {
    for (const [name, { payloadBytes }] of rows) {
      expect(samples[name].roomBytesMax !== undefined).toBe(payloadBytes.min < payloadBytes.max);
    }
  });

  test('says of a memory table that is cut off how long it is', () => {
    const recording = everything();
    const payload = memoryTableLayout.encode([region, region]).subarray(0, 71);
    recording.send('SET_MEM_TABLE', { payload, fds: recording.fds(2) });
    expect(recording.refusal).toBe('BAD_SIZE');
    expect(recording.sentence).toBe(
      'port web1: SET_MEM_TABLE: payload of 71 bytes is shorter than its own count',
    );
    expectSettled(recording);
  });

  test('takes as many fds as a memory table counts, not as it has room for', () => {
    const recording = everything();
    const payload = new Uint8Array(72);
    payload.set(memoryTableLayout.encode([region]));
    recording.send('SET_MEM_TABLE', { payload, fds: recording.fds(2) });
    expect(recording.refusal).toBe('BAD_FDS');
    expectSettled(recording);
  });

  test('has a sample about a queue for every row about one', () => {
    for (const [name, row] of rows) {
      const isAboutQueue = row.read(samples[name].payload)?.queue !== undefined;
      expect(samples[name].outOfRange !== undefined).toBe(isAboutQueue);
    }
  });

  test.each(['SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'] as const)(
    '%s with the invalid FD flag takes no fd',
    (name) => {
      const payload = vringFdLayout.encode({ index: 0, hasFd: false });
      const alone = prepared(name);
      alone.send(name, { payload });
      expect(alone.open).toBe(true);
      const surplus = prepared(name);
      surplus.send(name, { payload, fds: surplus.fds(1) });
      expect(surplus.refusal).toBe('BAD_FDS');
      expectSettled(surplus);
    },
  );
});
