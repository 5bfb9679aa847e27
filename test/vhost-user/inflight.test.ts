/**
 * vhost-user "Inflight I/O tracking": the file that is made, and what becomes of every fd.
 */

import { describe, expect, test } from 'vitest';
import { servable } from '../../src/vhost-user/features.ts';
import { inflightBytes } from '../../src/vhost-user/inflight.ts';
import { type InflightArea, inflightAreaLayout } from '../../src/vhost-user/message.ts';
import { everything, Recording } from './recording.ts';

const wanted = { sizeBytes: 0n, offsetBytes: 0n, queues: 2, queueSize: 256, wireBytes: 24 };
/** 16 bytes of head and 16 for each descriptor, up to the next multiple of 64. */
const queueBytes = 4160;

function getInflight(recording: Recording, area: Partial<InflightArea> = {}) {
  const payload = inflightAreaLayout.encode({ ...wanted, ...area });
  const reply = recording.send('GET_INFLIGHT_FD', { payload });
  return reply === undefined ? undefined : inflightAreaLayout.decode(reply.payload);
}

function setInflight(recording: Recording, area: Partial<InflightArea> = {}): void {
  const payload = inflightAreaLayout.encode({ ...wanted, sizeBytes: 1n << 20n, ...area });
  recording.send('SET_INFLIGHT_FD', { payload, fds: recording.fds(1) });
}

describe('vhost-user "Inflight I/O tracking"', () => {
  test('GET_INFLIGHT_FD answers with a file whose queues have version 1 and their size', () => {
    const recording = everything();
    expect(getInflight(recording)).toEqual({ ...wanted, sizeBytes: 2n * BigInt(queueBytes) });
    expect(recording.fdsSent).toBe(1);
    expect(recording.settled).toEqual([1]);
    const head = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0);
    expect(recording.backend.callsOf('createMemoryFile')).toEqual([
      [
        2 * queueBytes,
        [
          { offsetBytes: 0, bytes: head },
          { offsetBytes: queueBytes, bytes: head },
        ],
      ],
    ]);
  });

  test('a description without the padding of C is answered without it', () => {
    const recording = everything();
    expect(getInflight(recording, { wireBytes: 20 })?.wireBytes).toBe(20);
  });

  test('the file is closed if the answer cannot be sent', () => {
    const recording = everything();
    recording.sendFailure = new Error('EPIPE');
    getInflight(recording);
    expect(recording.closeReason?.kind).toBe('send-failed');
    expect(recording.settled).toEqual([1]);
  });

  test('packed rings get no region, which a size of 0 says', () => {
    const recording = new Recording(1, servable).negotiate();
    expect(getInflight(recording)).toEqual({ ...wanted, sizeBytes: 0n });
    expect(recording.fdsSent).toBe(0);
  });

  test('SET_INFLIGHT_FD takes the region back; its file is closed', () => {
    const recording = everything();
    setInflight(recording, { sizeBytes: BigInt(inflightBytes(2, 256)) });
    expect(recording.open).toBe(true);
    expect(recording.settled).toEqual([1]);
  });

  test.each([
    ['no queue', { queues: 0 }],
    ['more queues than the port has', { queues: 3 }],
    ['queues of no size', { queueSize: 0 }],
    ['queues larger than any', { queueSize: 32769 }],
  ])('a region for %s is refused, wanted and brought', (_, area) => {
    for (const send of [getInflight, setInflight]) {
      const recording = everything();
      send(recording, area);
      expect(recording.refusal).toBe('BAD_VALUE');
      expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
    }
  });

  test('a region too small for its queues is refused', () => {
    const recording = everything();
    setInflight(recording, { sizeBytes: BigInt(inflightBytes(2, 256) - 1) });
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});
