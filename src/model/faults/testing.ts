/** What guests of tests meet: a backend that is not as it should be. */

import type { Codes } from './code.ts';

export const testingCodes = {
  DISCONNECTED: {
    means: 'the backend closed the connection of a test guest',
    ends: 'the call',
    remedy: 'See the reason in the events of the switch, or in the log of the backend.',
    sentences: {
      'connection-lost': '{cause}',
      'backend-closed': 'the backend closed the connection',
    },
  },
  REFUSED: {
    means: 'the backend answered a request of a test guest with a failure',
    ends: 'the call',
    remedy: 'Ask only for what the backend offers.',
    sentences: {
      'request-failed': '{request}: status {status}',
      'features-taken-back': '{features} no longer offered',
      'queue-pairs-unserved': 'the backend serves {served} queue pairs, not {queuePairs}',
      'config-not-agreed': 'VHOST_USER_PROTOCOL_F_CONFIG was not agreed on',
      'control-queue-not-agreed': 'VIRTIO_NET_F_CTRL_VQ was not agreed on',
    },
  },
  PEER_VIOLATION: {
    means: 'the backend broke the specification',
    ends: 'the call',
    remedy: 'Report it to those who make the backend.',
    sentences: {
      'peer-violation': 'queue {queue}: {what}',
      'backend-framing': '{what}',
      'answer-size': '{request} was answered with {bytes} bytes',
      'acknowledgement-size': '{request}: acknowledged with {bytes} bytes',
      'answer-of-another': 'request {request} was answered as {other}',
    },
  },
} as const satisfies Codes;
