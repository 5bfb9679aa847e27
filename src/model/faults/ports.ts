/**
 * What happens to ports and sessions and is nobody's mistake in the protocol. Events carry it;
 * their sentences begin with the port.
 */

import type { Codes } from './code.ts';

export const portCodes = {
  FRONTEND_REFUSED: {
    means: 'a process that connected to a port was sent away',
    ends: 'nothing',
    remedy: 'Stop the process that is connected, or let the new one in with `allow`.',
    sentences: {
      'port-taken': [
        'refused process {pid}: process {present} is connected; stop that one first, or give ',
        'each machine a socket of its own',
      ],
      'frontend-not-allowed': [
        'refused process {pid} (uid {uid}, gid {gid}): only {allowed} may connect; start the ',
        'machine as one of them, or allow it too',
      ],
      'session-unsettled': [
        'a session that was kept has ended: the process before ended in the midst of a request; ',
        'the machine has to connect again',
      ],
      'session-not-resumed':
        'a session that was kept has ended: {cause}; the machine has to connect again',
    },
  },
  FRONTEND_AWAITED: {
    means: 'a port connects to a socket on which nobody listens; it tries again and again',
    ends: 'nothing',
    remedy: 'Start the machine that is to listen there, or correct the path.',
    sentences: {
      'frontend-awaited': 'waiting for a frontend to listen on {path} ({cause})',
    },
  },
  ACCEPT_FAILED: {
    means: 'a connection cannot be accepted; it is tried again every second',
    ends: 'nothing',
    remedy: 'Raise the limit of open files (`ulimit -n`), or look for what else the cause names.',
    sentences: {
      'accept-failed': '{cause}',
    },
  },
  MEMORY_LOST: {
    means: "the file behind a guest's memory was truncated",
    ends: 'the session',
    remedy: 'Leave the file of a running machine alone; restart the machine.',
    sentences: {
      'memory-truncated': "the file behind the guest's memory was truncated; its session ends",
    },
  },
  SOURCE_SPOOFED: {
    means: 'a guest sent from an address that its port is not bound to',
    ends: 'nothing',
    remedy:
      'Give the guest the address that its port is bound to, or bind the port to the address ' +
      'with `mac` or `address`.',
    sentences: {
      'source-mac-spoofed': [
        'dropped a frame from {source}, which it is not bound to; all such are counted as ',
        'spoofedMac',
      ],
      'source-address-spoofed': [
        'dropped a frame from {source}, which it is not bound to; all such are counted as ',
        'spoofedAddress',
      ],
      'source-unknown': [
        'dropped a frame of EtherType {source}, whose source cannot be checked; all such are ',
        'counted as spoofedAddress',
      ],
    },
  },
  SEND_FAILED: {
    means: 'the answer to a request could not be sent',
    ends: 'the session',
    remedy: 'See why the frontend does not read: it is stopped, or its own log says so.',
    sentences: {
      'answer-unsent': 'the answer could not be sent: {cause}',
    },
  },
  DEVICE_FAILED: {
    means: 'the switch failed at what a frontend may ask for',
    ends: 'the session',
    remedy: 'Report the sentence: this is a mistake of tsvswitch, or the host is out of something.',
    sentences: {
      'device-failed': 'the switch failed: {cause}',
      'device-failed-at-end': 'closing: the switch failed: {cause}',
    },
  },
} as const satisfies Codes;
