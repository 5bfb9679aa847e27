/**
 * A session driven by an input: messages of all kinds, sensible and not, descriptors, the guest's
 * own mistakes, a backend that fails, and plain bytes.
 *
 * Nothing may throw; every descriptor is handed over or closed once; when the stream ends no ring
 * runs, no channel is open, and the session has said so once.
 */

import assert from 'node:assert/strict';
import { failure } from '../../../src/model/errors.ts';
import type { Backend } from '../../../src/vhost-user/backend.ts';
import { servable } from '../../../src/vhost-user/features.ts';
import {
  encodeMessage,
  memoryRegionLayout,
  memoryTableLayout,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../../src/vhost-user/message.ts';
import {
  everything,
  Recording,
  region,
  ringAddresses,
  running,
} from '../../vhost-user/recording.ts';
import { Input } from '../input.ts';

const requests = Object.values(requestNumbers);
const beginnings = [
  () => new Recording(),
  () => new Recording(1, servable),
  () => new Recording().negotiate(),
  () => new Recording(1, servable).negotiate(),
  () => running(),
  () => running(everything()),
];
const failures: readonly (keyof Backend)[] = [
  'setMemory',
  'addMemoryRegion',
  'setFeatures',
  'startQueue',
  'moveQueue',
  'stopQueue',
  'enableQueue',
  'setCall',
  'setErr',
  'setLog',
  'setLogging',
  'setCallInBand',
  'openChannel',
  'createMemoryFile',
  'kick',
];
const sizes = [0, 1, 3, 256, 0x8000, 0x10000];

function takeAddress(input: Input): bigint {
  const offset = input.number(2);
  switch (input.below(3)) {
    case 0:
      return region.userAddress + offset;
    case 1:
      return region.userAddress + region.sizeBytes - offset;
    default:
      return input.number(8);
  }
}

function takeRegion(input: Input) {
  if (input.flag()) return region;
  return {
    guestAddress: input.number(2) << 12n,
    sizeBytes: input.flag() ? 1n << BigInt(input.below(64)) : input.number(8),
    userAddress: input.flag() ? takeAddress(input) : input.number(8),
    mmapOffset: input.flag() ? 0n : input.number(8),
  };
}

function takePayload(input: Input): Uint8Array {
  const index = input.below(4);
  switch (input.below(8)) {
    case 0:
      return input.bytes(input.byte());
    case 1:
      return u64Layout.encode(input.number(input.flag() ? 8 : 1));
    case 2:
      return vringStateLayout.encode({ index, num: input.pick(sizes) });
    case 3:
      return vringFdLayout.encode({ index, hasFd: input.flag() });
    case 4: {
      const addresses = {
        desc: takeAddress(input),
        avail: takeAddress(input),
        used: takeAddress(input),
      };
      const log = input.number(2);
      return vringAddressesLayout.encode({ index, flags: input.below(2), log, ...addresses });
    }
    case 5:
      return memoryTableLayout.encode(
        Array.from({ length: input.below(9) }, () => takeRegion(input)),
      );
    case 6:
      return memoryRegionLayout.encode(takeRegion(input));
    default:
      return new Uint8Array(0);
  }
}

function step(recording: Recording, input: Input): unknown {
  const queue = input.below(2);
  switch (input.below(16)) {
    case 0:
      return recording.feed(input.bytes(input.byte()), recording.fds(input.below(3)));
    case 1:
      return recording.startRing(queue, 0, input.pick(sizes));
    case 2:
      return recording.session.queueBroken(queue, 'chain-too-long');
    case 3:
      return recording.session.queueCalled(queue);
    case 4:
      return recording.backend.channelReader?.receive(
        input.bytes(Math.min(input.byte(), recording.backend.channelReader.wants)),
        recording.fds(input.below(2)),
      );
    case 5:
      return recording.backend.channelReader?.end();
    case 6:
      return recording.memory(input.flag() ? [region] : [takeRegion(input), takeRegion(input)]);
    case 7:
      return recording.address(queue, ringAddresses(queue), input.below(2), input.number(4));
    case 8: {
      const failing = input.pick(failures);
      const isMapping = input.flag();
      const error = isMapping ? failure('map-empty') : new Error('refused');
      return recording.backend.failures.set(failing, error);
    }
    case 9:
      return recording.negotiate(
        recording.offered.virtio & input.number(8),
        recording.offered.protocol,
      );
    default: {
      const request = input.flag() ? input.pick(requests) : input.byte();
      const bytes = encodeMessage(request, input.pick([0x1, 0x9]), takePayload(input));
      return recording.feed(bytes, recording.fds(input.below(3)));
    }
  }
}

export function fuzz(data: Uint8Array): void {
  const input = new Input(data);
  const recording = input.pick(beginnings)();
  while (!input.done) step(recording, input);
  recording.session.end();
  assert.deepEqual(recording.settled, Array(recording.fdsIssued).fill(1));
  assert.equal(recording.backend.running.size, 0);
  assert.equal(recording.backend.channelsOpen, 0);
  assert.equal(recording.eventTypes().filter((type) => type === 'closed').length, 1);
  assert.equal(recording.eventTypes().at(-1), 'closed');
}
