/**
 * Why the data plane gave a queue up. The faults are those of TSVSWITCH_BREAK_REASONS in
 * native/core/ring/chain.h; a test holds the two against each other.
 */

import type { Codes } from './code.ts';

export const ringCodes = {
  RING_BROKEN: {
    means: 'a guest wrote into a ring what the specification forbids, or took its memory away',
    ends: 'the queue',
    remedy:
      'Restart the driver or the guest, which starts the queue anew. If it happens again, the ' +
      'driver has a bug, or somebody in the guest attacks the switch.',
    sentences: {
      'avail-index-jump': 'the avail index moved by more than the queue size',
      'head-out-of-range': 'the avail ring names a descriptor beyond the queue size',
      'next-out-of-range': "a descriptor's next lies beyond its table",
      'chain-too-long': 'a descriptor chain is a loop or longer than the queue size',
      'chain-incomplete': 'a descriptor chain runs into descriptors that are not available',
      'address-unmapped': 'a descriptor points outside guest memory',
      'wrong-direction': "a descriptor's write flag does not fit the queue's direction",
      'indirect-not-negotiated': 'an indirect descriptor without VIRTIO_F_INDIRECT_DESC',
      'indirect-bad-table': 'an indirect table is empty, of odd size or longer than the queue size',
      'indirect-nested': 'an indirect descriptor is nested or also has NEXT',
      'buffer-below-header': 'a receive buffer is smaller than the virtio-net header',
      'read-behind-write': 'a control command has a readable descriptor behind a writable one',
      'command-without-status': 'a control command has no byte that its status can be written to',
      'ring-unmapped': 'the memory that holds the ring was taken away',
      'memory-lost': 'the file behind guest memory was truncated',
      'eventfd-blocked': 'its frontend made an eventfd blocking and filled it',
    },
  },
} as const satisfies Codes;
