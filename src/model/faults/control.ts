/** The control socket: what its server refuses, and what its client meets. */

import type { Codes } from './code.ts';

export const controlCodes = {
  CONTROL_UNREACHABLE: {
    means: 'no switch answers on the control socket',
    costs: 'the call',
    remedy: 'Start a switch with --control, or give the path of its control socket.',
    sentences: {
      'control-which': [
        'no switch runs at {path}, and {labs} labs have one each; say which is meant:\n',
        '{commands}',
      ],
    },
  },
  CONTROL_UNKNOWN_REQUEST: {
    means: 'the control socket knows no such request',
    costs: 'the call',
    remedy: 'See docs/control.md for the requests that there are.',
    sentences: {},
  },
  CONTROL_BAD_REQUEST: {
    means: 'a request on the control socket has an unusable body',
    costs: 'the call',
    remedy: 'Correct what the sentence names.',
    sentences: {},
  },
  CONTROL_BODY_TOO_LONG: {
    means: 'a request has too long a body',
    costs: 'the call',
    remedy: 'Ask for less at once.',
    sentences: {},
  },
  CONTROL_TIMEOUT: {
    means: 'a request did not come to its end in time',
    costs: 'the call',
    remedy: 'Send all of it at once, and read the answer.',
    sentences: {},
  },
  CONTROL_BUSY: {
    means: 'as many clients or readers are served as there may be',
    costs: 'the call',
    remedy: 'End one of them first.',
    sentences: {},
  },
  CONTROL_TOO_MANY_REQUESTS: {
    means: 'too many requests of one connection wait',
    costs: 'the call',
    remedy: 'Read answers before asking for more.',
    sentences: {},
  },
} as const satisfies Codes;
