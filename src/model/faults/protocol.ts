/**
 * What a frontend does wrong (vhost-user/): it ends the session, as the specification does not say
 * what state a failed request leaves.
 */

import type { Codes } from './code.ts';

const reportFrontend =
  'Update the frontend (QEMU, DPDK or other), or report the sentence to those who make it.';
const shareMemory =
  'Add share=on to the memory backend of the machine. QEMU: -object memory-backend-memfd,id=mem,' +
  'size=...,share=on and -machine memory-backend=mem.';

/** The same within a sentence. */
const memoryRemedy =
  'guest memory is not shared: add share=on to the memory backend (QEMU: -object ' +
  'memory-backend-memfd,id=mem,size=...,share=on and -machine memory-backend=mem)';

const region = 'region at guest address {guestAddress} of {bytes} bytes';
const unmapped = 'guest memory cannot be mapped: ';

export const protocolCodes = {
  BAD_VERSION: {
    means: 'a message has another protocol version than 1',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'version-unknown': 'flags {flags}: version 1 was expected in the low two bits',
    },
  },
  BAD_FLAGS: {
    means: 'a reply came where a request was expected, or the other way round',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'request-expected': 'flags {flags}: a request was expected',
      'reply-expected': 'flags {flags}: a reply was expected',
    },
  },
  BAD_SIZE: {
    means: 'a payload has the wrong size',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'payload-too-long':
        'request {request}: payload of {bytes} bytes, at most {bytesMax} were expected',
      'payload-not-exact': 'payload of {bytes} bytes, {expected} were expected',
      'payload-not-within': 'payload of {bytes} bytes, {bytesMin} to {bytesMax} were expected',
      'payload-below-its-count': 'payload of {bytes} bytes is shorter than its own count',
    },
  },
  BAD_FDS: {
    means: 'a message came with the wrong number of file descriptors',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'fds-too-many': 'more than {max} fds came with one message',
      'fds-not-exact': 'came with {count} fds, {expected} were expected',
      'fds-not-within': 'came with {count} fds, {min} to {max} were expected',
    },
  },
  BAD_EVENTFD: {
    means: 'a file descriptor is no eventfd, or an eventfd that somebody had to wait for',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'no-eventfd': 'what was passed is no eventfd',
      'no-eventfd-or-socket': 'what was passed is no eventfd and no stream socket',
      'eventfd-held-up': [
        'the frontend made an eventfd blocking and filled it, which held up the switch; nobody ',
        'is served here for {seconds} s',
      ],
    },
  },
  BAD_SOCKET: {
    means: 'a file descriptor is no socket',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'no-socket': 'what was passed is no socket',
    },
  },
  BAD_REPLY: {
    means: "a frontend answered one of the backend's own requests wrongly",
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'reply-malformed': 'backend channel: {what}',
      'reply-unasked':
        'backend channel: answered backend request {backendRequest}, which was not under way',
      'reply-not-success': 'backend channel: answered {backendRequest} with {answer}',
      'reply-not-success-of-queue':
        'backend channel: answered {backendRequest} for queue {queue} with {answer}',
    },
  },
  TRUNCATED: {
    means: 'the stream ended within a message',
    ends: 'the session',
    remedy: 'See why the frontend died: its own log says so.',
    sentences: {
      'message-truncated': 'the frontend left in the middle of a message',
    },
  },
  UNKNOWN_REQUEST: {
    means: 'a request is none that this backend serves',
    ends: 'the session',
    remedy:
      'Switch the feature of the frontend off that needs the request. A sender that waits for ' +
      'the answer keeps its session.',
    sentences: {
      'request-unknown': 'this backend does not serve it',
    },
  },
  MISSING_FEATURE: {
    means: 'a request or a bit belongs to a feature that was not negotiated',
    ends: 'the session',
    remedy:
      'Leave out the option of the frontend that switches the feature on, and stop a migration ' +
      'that expects it.',
    sentences: {
      'feature-not-negotiated': '{feature} was not negotiated',
      'features-not-offered': '{features} was not offered',
      'feature-alone': '{feature} came without {missing}',
      'logging-not-offered': 'asks for logging, but VHOST_F_LOG_ALL was not offered',
    },
  },
  BAD_QUEUE: {
    means: 'a queue does not exist',
    ends: 'the session',
    remedy: 'Ask for fewer queues (QEMU: queues=N of the netdev).',
    sentences: {
      'queue-beyond': 'this port has queues 0 to {queueMax}',
    },
  },
  BAD_VALUE: {
    means: 'a payload has an unusable value',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'region-empty': [region, ': more than 0 bytes were expected'],
      'region-beyond-addresses': [
        region,
        ' and user address {userAddress}: passes the end of the address space',
      ],
      'region-beyond-file': [region, ': file offset {fileOffset} passes the end of any file'],
      'region-overlaps': [
        region,
        ': overlaps the region at guest address {otherAddress} of {otherBytes} bytes',
      ],
      'region-slots-taken': [region, ': all {max} slots are taken'],
      'region-unknown': [region, ': no such region was added'],
      'ring-size': 'size {size} is not between 1 and {max}',
      'ring-size-no-power-of-two': 'size {size} is not a power of two',
      'ring-base': 'base {base} is not between 0 and {max}',
      'ring-base-beyond-size': 'base {base} means index {index} in a ring of {size}',
      'ring-misaligned': '{part} address {address} is not a multiple of {alignBytes}',
      'enable-neither-0-nor-1': 'value {value} is neither 0 nor 1',
      'value-reserved': 'value {value} is reserved, 0 was expected',
      'status-too-wide': 'status {status} has more than 8 bits',
      'mac-of-no-machine': 'MAC {mac} is not the address of one machine',
      'mtu-beyond': 'MTU {mtu} is not between {min} and {max}',
      'inflight-queues': '{queues} queues; this port has 1 to {max}',
      'inflight-too-small':
        'region of {bytes} bytes, {needed} are needed for {queues} queues of {size}',
      'log-in-no-file': 'log of {bytes} bytes at file offset {fileOffset} lies in no file',
      'log-too-short': 'log of {bytes} bytes does not reach guest address {guestAddress} of {what}',
      'config-flags': 'flags {flags} are neither 0 nor 1',
      'config-read-only': 'bytes {first} to {last} are not to be written',
      'config-beyond':
        '{bytes} bytes at offset {offset} pass the end of the configuration space of {configBytes}',
      'config-mac-of-no-card': '{mac} is no address of a card',
      'config-mac-not-bound': '{mac} is not an address that the port is bound to',
    },
  },
  WRONG_ORDER: {
    means: 'a request is not possible in this state',
    ends: 'the session',
    remedy: reportFrontend,
    sentences: {
      'before-ring-size': 'came before SET_VRING_NUM gave the ring a size',
      'before-ring-addresses': 'came before SET_VRING_ADDR said where the ring lies',
      'before-features': 'came before SET_FEATURES',
      'features-while-running': 'changes {features} while queue {running} runs',
    },
  },
  MEMORY_NOT_SHARED: {
    means: 'guest memory came without a file',
    ends: 'the session',
    remedy: shareMemory,
    sentences: {
      'memory-empty': ['no memory region was given; ', memoryRemedy],
      'memory-without-file': ['came without a file; ', memoryRemedy],
    },
  },
  MEMORY_UNMAPPABLE: {
    means: 'guest memory cannot be mapped',
    ends: 'the session',
    remedy: shareMemory,
    sentences: {
      'map-empty': [unmapped, 'a region has no bytes; ', memoryRemedy],
      'map-wraps': [unmapped, 'a region ends beyond the address space; ', memoryRemedy],
      'map-overlaps': [unmapped, 'two regions overlap; ', memoryRemedy],
      'map-too-many': [unmapped, 'more than {max} regions; ', memoryRemedy],
      'map-no-file': [unmapped, 'what was passed is not a file that can be mapped; ', memoryRemedy],
      'map-file-too-small': [unmapped, 'the file ends before the region does; ', memoryRemedy],
      'map-failed': [unmapped, '{cause}; ', memoryRemedy],
      'map-no-such-region': [unmapped, 'there is no such region to remove; ', memoryRemedy],
      'map-of-other-host': [
        'its file lies neither in memory nor on a disk of this host, and could hold up the ',
        'switch; ',
        memoryRemedy,
      ],
      'test-memory-unmappable':
        'guest memory: {sizeBytes} bytes of {kind} cannot be mapped ({cause})',
      'map-private': [
        'process {pid} maps it privately, so nothing the guest writes is seen here; ',
        memoryRemedy,
      ],
    },
  },
  RING_UNMAPPED: {
    means: 'a ring lies outside guest memory',
    ends: 'the session',
    remedy: shareMemory,
    sentences: {
      'ring-outside-memory':
        '{bytes} bytes of {part} at user address {userAddress} lie in no memory region',
      'ring-across-regions': 'the ring does not lie within one shared memory region',
      'ring-misaligned-in-memory': 'the ring is not aligned as its format needs it',
    },
  },
} as const satisfies Codes;
