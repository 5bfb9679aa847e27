/** The files that a switch reads and keeps. */

import type { Codes } from './code.ts';

export const operationCodes = {
  STATE_UNUSABLE: {
    means: 'the state folder cannot be made, read or written',
    costs: 'the call',
    remedy: 'Make it writable for the user of the switch, or choose another folder.',
    sentences: {
      'state-unusable': [
        '{path}: no state can be kept there ({cause}); make it writable for user {uid}, or ',
        'choose another folder',
      ],
    },
  },
  STATE_FULL: {
    means: 'there is no room for state',
    costs: 'the call',
    remedy: 'Make room on the file system. What was there before stays.',
    sentences: {
      'state-disk-full':
        '{path}: the disk is full; what was there before stays, make room for more',
    },
  },
  STATE_DAMAGED: {
    means: 'a file in the state folder is not what this program wrote',
    costs: 'the call',
    remedy: 'Look at the file that was put aside, and restore it from a backup if it is worth it.',
    sentences: {
      'state-damaged': '{path} is damaged ({cause}); it was put aside as {aside}',
    },
  },
  STATE_LATER: {
    means: 'kept state is of a later version of this program',
    costs: 'the call',
    remedy: 'Run that version, or remove the file.',
    sentences: {
      'state-later-unread': [
        '{path}: version {written}, and this program reads up to {version}: a later one wrote ',
        'it; it is neither used nor changed',
      ],
      'state-later-unwritten': [
        '{path}: version {written}, and this program writes {version}: a later one wrote it; it ',
        'stays as it is, remove it to keep state with this program',
      ],
    },
  },
  CONFIG_UNREADABLE: {
    means: 'the file of a switch cannot be read',
    costs: 'the call',
    remedy: 'Correct the path or the rights of the file.',
    sentences: {},
  },
  CONFIG_INVALID: {
    means: 'the file of a switch says what cannot be',
    costs: 'the call',
    remedy:
      'Correct the lines that the sentence names; `tsvswitch check FILE` says the same ' +
      'without a switch.',
    sentences: {},
  },
  RELOAD_BUSY: {
    means: 'the file of a switch is being read again already',
    costs: 'the call',
    remedy: 'Ask again when that is done.',
    sentences: {},
  },
} as const satisfies Codes;
