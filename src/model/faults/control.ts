/** The control socket: what its server refuses, and what its client meets. */

import type { Codes } from './code.ts';

export const controlCodes = {
  CONTROL_UNREACHABLE: {
    means: 'no switch answers on the control socket',
    ends: 'the call',
    remedy: 'Start a switch with --control, or give the path of its control socket.',
    sentences: {
      'control-which': [
        'no switch runs at {path}, and {labs} labs have one each; say which is meant:\n',
        '{commands}',
      ],
      'control-unreachable': [
        'no switch can be reached at {path} ({cause}); start one with `tsvswitch --control ',
        '{path}`, or give the path of its control socket',
      ],
      'control-unreachable-url': 'no switch can be reached at {url} ({cause})',
      'control-untrusted': [
        'the switch at {url} cannot be told from another ({cause}); give the certificate of who ',
        'signed its own with --ca FILE',
      ],
    },
  },
  CONTROL_UNAUTHORIZED: {
    means: 'a request over TCP has no token that the switch knows',
    ends: 'the call',
    remedy: 'Send the token of the switch: `--token FILE`, or a header `Authorization: Bearer`.',
    sentences: {
      'token-missing': [
        'a token is needed here: the header `Authorization: Bearer TOKEN`, or --token FILE ',
        'of the command',
      ],
      'token-wrong': 'the token of this request is none of this switch',
    },
  },
  CONTROL_FOREIGN: {
    means: 'a request over TCP was meant for another server, or made by a page of one',
    ends: 'the call',
    remedy: 'Ask by the IP address, by localhost, or by a name that the certificate has.',
    sentences: {
      'host-foreign': [
        'the header Host names {host}, which this switch is not; it is its IP addresses, ',
        'localhost, and the names of its certificate',
      ],
      'origin-foreign': 'pages of {origin} may not ask this switch, only those of {own}',
    },
  },
  CONTROL_UNKNOWN_REQUEST: {
    means: 'the control socket knows no such request',
    ends: 'the call',
    remedy: 'See docs/control.md for the requests that there are.',
    sentences: {
      'operation-unknown': '{method} {path} is nothing this switch knows; GET /v1/status is',
    },
  },
  CONTROL_EMBEDDED: {
    means: 'a switch is part of another program, which ends it and has its log',
    ends: 'the call',
    remedy: 'Ask that program.',
    sentences: {
      'switch-embedded': [
        'this switch is part of another program, which ends it and has its log; ask that one',
      ],
    },
  },
  CONTROL_READ_ONLY: {
    means: 'whoever asks may look and change nothing',
    ends: 'the call',
    remedy: 'Ask as root, or as the user that the switch runs as.',
    sentences: {
      'control-read-only': [
        '{method} {path} is for root and the user of the switch; ',
        'others only look',
      ],
    },
  },
  CONTROL_STRANGER: {
    means: 'whoever asks is in none of the groups of the control socket',
    ends: 'the call',
    remedy: 'Join one of them, or ask as root or as the user that the switch runs as.',
    sentences: {
      'control-stranger': 'user {uid} is in neither group that this control socket is for',
    },
  },
  CONTROL_BAD_REQUEST: {
    means: 'a request on the control socket has an unusable body',
    ends: 'the call',
    remedy: 'Correct what the sentence names.',
    sentences: {
      'body-too-deep': 'the body has lists or mappings in more than {max} others',
      'body-no-json': 'the body is not JSON ({cause})',
      'flag-unknown': 'there is no {flag} behind a question mark; there is {flags}',
    },
  },
  SETTINGS_CHANGED: {
    means: 'settings were changed by somebody else since they were read',
    ends: 'the call',
    remedy: 'Read them again, and make the change once more.',
    sentences: {
      'settings-changed': [
        'the settings were changed by somebody else meanwhile, and nothing was changed now; ',
        'look at them again, and ask once more',
      ],
    },
  },
  CONTROL_BODY_TOO_LONG: {
    means: 'a request has too long a body',
    ends: 'the call',
    remedy: 'Ask for less at once.',
    sentences: {
      'body-too-long': 'the body has more than the {max} bytes that any request needs',
      'body-too-many': 'the body has more than the {max} keys and entries that any request needs',
    },
  },
  CONTROL_TIMEOUT: {
    means: 'a request did not come to its end in time',
    ends: 'the call',
    remedy: 'Send all of it at once, and read the answer.',
    sentences: {
      'body-late': 'the body did not come within {seconds} s of its head',
    },
  },
  CONTROL_BUSY: {
    means: 'as many clients or readers are served as there may be',
    ends: 'the call',
    remedy: 'End one of them first.',
    sentences: {
      'event-readers-too-many':
        '{max} clients read events already, and there can be no more; end one of them first',
      'captures-too-many':
        '{max} captures run already, and there can be no more; end one of them first',
    },
  },
  CONTROL_TOO_MANY_REQUESTS: {
    means: 'too many requests of one connection wait',
    ends: 'the call',
    remedy: 'Read answers before asking for more.',
    sentences: {
      'requests-too-many':
        'more than {max} requests of this connection wait; read the answers before asking on',
    },
  },
} as const satisfies Codes;
