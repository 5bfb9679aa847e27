/** Frames and captures. */

import type { Codes } from './code.ts';

export const framesCodes = {
  BAD_FRAME: {
    means: 'a frame is too short or too long, or cannot be built from what was given',
    ends: 'the call',
    remedy: 'Correct the field that the sentence names.',
    sentences: {
      'replay-packet-cut':
        'packet {packet} has {bytes} of {frameBytes} bytes; capture with larger snapBytes',
      'frame-no-bytes': 'frame {index} is not a Uint8Array',
      'frame-bytes': 'a frame of {bytes} bytes',
      'frame-size': 'frame {index} has {bytes} bytes; {min} to {max} make one',
      'frame-address': '{field}: {value} is not {expected}',
      'frame-layers': [
        'a frame has at most one of arp, ip4 and ip6, and on top of ip4 or ip6 at most one of ',
        'icmp4, icmp6, udp and tcp',
      ],
      'frame-field': '{name}: {value} is not {expected}',
      'frame-too-short': '{what} instead of a frame of 14 bytes or more',
      'test-frame-no-bytes': 'a frame must be a Uint8Array, not {type}',
      'test-frame-size':
        'a frame of {bytes} bytes; it has {min} to {max}, unless it is sent by raw.send()',
    },
  },
  BAD_CAPTURE: {
    means: 'a file is no capture, of no use here, or damaged',
    ends: 'the call',
    remedy: 'Record it anew, as pcapng or pcap of Ethernet.',
    sentences: {
      'capture-too-short': 'a capture cannot be read: too short to be pcapng or pcap',
      'capture-no-byte-order': 'a capture cannot be read: no byte-order magic at {at}',
      'capture-version': 'a capture cannot be read: pcapng of version {version}; only 1 is known',
      'capture-block-size': 'a capture cannot be read: a block of {bytes} bytes at {at}',
      'capture-block-sizes-differ': [
        'a capture cannot be read: a block of {bytes} bytes at {at}, which ends as one of ',
        '{again}',
      ],
      'capture-block-cut': 'a capture cannot be read: a block has {present} bytes of {bytes}',
      'capture-checksum-bits': [
        'a capture cannot be read: a checksum of {bits} bits behind each frame; Ethernet has ',
        'one of 32',
      ],
      'capture-interface-unknown':
        'a capture cannot be read: a packet of interface {number}, which is not described',
      'capture-link-type':
        'a capture cannot be read: link type {linkType}; only Ethernet (1) has frames',
      'capture-no-format': 'a capture cannot be read: neither pcapng nor pcap{compression}',
      'capture-pcap-version':
        'a capture cannot be read: pcap of version {version}; only 2.4 is known',
    },
  },
  FRAME_MISMATCH: {
    means: 'a frame is not the one that a test expects',
    ends: 'the call',
    remedy: 'Compare the two: either the program or the test is wrong.',
    sentences: {
      'frame-mismatch': 'expected {expected}, got {got}',
    },
  },
} as const satisfies Codes;
