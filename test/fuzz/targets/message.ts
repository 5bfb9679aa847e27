/**
 * Framing and payloads: a stream cut into messages, and every payload decoded.
 *
 * However a stream arrives, in one piece or byte by byte, the same messages come out of it, with
 * each descriptor in the message it came with; and what a layout decodes, it encodes to the same
 * again.
 */

import assert from 'node:assert/strict';
import { told } from '../../../src/model/faults/table.ts';
import {
  configSpanLayout,
  inflightAreaLayout,
  type Layout,
  logAreaLayout,
  macLayout,
  memoryRegionLayout,
  memoryTableLayout,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../../src/vhost-user/message.ts';
import {
  MessageReader,
  type ReaderRole,
  type ReadStep,
} from '../../../src/vhost-user/message-reader.ts';
import { Input } from '../input.ts';

const layouts: readonly Layout<unknown>[] = [
  u64Layout,
  vringStateLayout,
  vringAddressesLayout,
  vringFdLayout,
  memoryTableLayout,
  memoryRegionLayout,
  logAreaLayout,
  inflightAreaLayout,
  configSpanLayout,
  macLayout,
].map((layout) => layout as Layout<unknown>);

interface Chunk {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** All that comes out of a stream, with the descriptors of the message that was left unfinished. */
function read(role: ReaderRole, chunks: readonly Chunk[], bytesPerRead: number): ReadStep[] {
  const reader = new MessageReader(role);
  const steps: ReadStep[] = [];
  for (const { bytes, fds } of chunks) {
    let left = fds;
    for (let at = 0; at < bytes.length && reader.wants > 0; ) {
      const part = bytes.slice(at, at + Math.min(reader.wants, bytesPerRead));
      const step = reader.feed(part, left, false);
      if (step.kind !== 'incomplete') steps.push(structuredClone(step));
      left = [];
      at += part.length;
    }
  }
  const unfinished = {
    kind: 'error',
    error: told('fds-too-many', { max: 0 }),
    fds: reader.abandon(),
  } as const;
  return [...steps, structuredClone(unfinished)];
}

export function fuzz(data: Uint8Array): void {
  const input = new Input(data);
  const role = input.pick<ReaderRole>(['backend', 'frontend']);
  const chunks: Chunk[] = [];
  for (let fd = 100; !input.done; fd += 16) {
    const fds = Array.from({ length: input.pick([0, 0, 1, 2, 9]) }, (_, i) => fd + i);
    // Well-formed but for what its own numbers say, or anything.
    const head = input.flag()
      ? input.bytes(12)
      : [
          input.byte(),
          0,
          0,
          0,
          input.pick([1, 9, 5, 2]),
          0,
          0,
          0,
          input.byte(),
          input.below(20),
          0,
          0,
        ];
    const bytes = new Uint8Array([...head, ...input.bytes(input.byte())]);
    chunks.push({ bytes, fds });
  }
  assert.deepEqual(read(role, chunks, Infinity), read(role, chunks, 1));

  const layout = layouts[data.length % layouts.length]!;
  for (const payload of [
    data,
    data.subarray(0, layout.bytesMin),
    data.subarray(0, layout.bytesMax),
  ]) {
    if (payload.length < layout.bytesMin || payload.length > layout.bytesMax) continue;
    const value = layout.decode(payload);
    if (value === undefined) continue;
    const encoded = layout.encode(value);
    // Shorter only where there was room behind what the payload counts.
    assert.ok(encoded.length <= payload.length);
    assert.deepEqual(layout.decode(encoded), value);
  }
}
