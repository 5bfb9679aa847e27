/** The files that a switch reads and keeps. */

import type { Codes } from './code.ts';

export const operationCodes = {
  STATE_UNUSABLE: {
    means: 'the state folder cannot be made, read or written',
    ends: 'the call',
    remedy: 'Make it writable for the user of the switch, or choose another folder.',
    sentences: {
      'addresses-not-kept': 'learned addresses are not kept: {why}',
      'state-unusable': [
        '{path}: no state can be kept there ({cause}); make it writable for user {uid}, or ',
        'choose another folder',
      ],
    },
  },
  STATE_LOCKED: {
    means: 'another switch keeps its state in this folder',
    ends: 'the call',
    remedy: 'End that process, or give this switch a folder of its own with --state.',
    sentences: {
      'state-locked':
        '{folder}: process {pid} keeps its state there; give this switch another folder',
    },
  },
  STATE_FULL: {
    means: 'there is no room for state',
    ends: 'the call',
    remedy: 'Make room on the file system. What was there before stays.',
    sentences: {
      'state-disk-full':
        '{path}: the disk is full; what was there before stays, make room for more',
    },
  },
  STATE_DAMAGED: {
    means: 'a file in the state folder is not what this program wrote',
    ends: 'the call',
    remedy: 'Look at the file that was put aside, and restore it from a backup if it is worth it.',
    sentences: {
      'state-damaged': '{path} is damaged ({cause}); it was put aside as {aside}',
    },
  },
  STATE_LATER: {
    means: 'kept state is of a later version of this program',
    ends: 'the call',
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
    ends: 'the call',
    remedy: 'Correct the path or the rights of the file.',
    sentences: {
      'config-unreadable': '{why}',
      'config-too-long': '{file} has more than {max} bytes, too many for the file of a switch',
      'config-no-text': '{file} is not UTF-8 text; save it as UTF-8',
    },
  },
  CONFIG_INVALID: {
    means: 'the file of a switch says what cannot be',
    ends: 'the call',
    remedy:
      'Correct the lines that the sentence names; `tsvswitch check FILE` says the same ' +
      'without a switch.',
    sentences: {
      'config-changes-misfit': [
        '{file} does not fit what was changed at run time ({why}); change one of them, or have ',
        'what was changed discarded',
      ],
      'config-invalid': '{findings}',
      'config-no-yaml': '{mistakes}',
      'config-empty': '{file} is empty; {smallest}',
      'config-aliases': '{file}: its aliases repeat more than {max} values',
    },
  },
  CONFIG_NONE: {
    means: 'a switch was not started from a file',
    ends: 'the call',
    remedy: 'Start it with `tsvswitch run`.',
    sentences: {
      'config-none': [
        'this switch was started from options and has no file; `tsvswitch run` runs one from a ',
        'file',
      ],
    },
  },
  CONFIG_UNWRITABLE: {
    means: 'the file of a switch cannot be written',
    ends: 'the call',
    remedy: 'Write it as a user who may, or by hand as `tsvswitch config show` prints it.',
    sentences: {
      'config-unwritable': '{path} cannot be written: {cause}; it is as it was',
      'config-aliased': [
        '{path}: what is in force cannot be written into it, as its aliases say otherwise; write ',
        'it by hand, as `tsvswitch config show` prints it',
      ],
    },
  },
  CONFIG_CHANGED: {
    means: 'the file of a switch was changed since the switch read it',
    ends: 'the call',
    remedy: 'Have it read again first: `tsvswitch reload`.',
    sentences: {
      'config-changed': [
        '{file} was changed since the switch read it; have it read again first: `tsvswitch ',
        'reload`',
      ],
    },
  },
  RELOAD_BUSY: {
    means: 'the file of a switch is being read again already',
    ends: 'the call',
    remedy: 'Ask again when that is done.',
    sentences: {
      'reload-busy': '{file} is being read again already; ask again when that is done',
    },
  },
  UPGRADE_BUSY: {
    means: 'a switch is being upgraded already',
    ends: 'the call',
    remedy: 'Ask again when that is done.',
    sentences: {
      'upgrade-busy': 'the switch is being upgraded already; ask again when that is done',
    },
  },
  UPGRADE_FAILED: {
    means: 'no new process has taken a switch over',
    ends: 'the call',
    remedy: 'The switch goes on as it was. Correct what the sentence names, and ask again.',
    sentences: {
      'upgrade-no-starter': [
        'nothing can start a new process any more, as the shell for it has ended; restart the ',
        'switch',
      ],
      'upgrade-nowhere':
        'nobody can take over a switch without a control socket, beside which it is found',
      'upgrade-port': [
        'port {port} is of kind {kind}, whose socket is not handed over; the switch goes on as it ',
        'was, restart it',
      ],
      'upgrade-ended': [
        'the new process ended with status {status}, and its log says why; the switch goes on ',
        'as it was',
      ],
      'upgrade-broke-off': [
        'the new process broke off, or took nothing for {seconds} s; the switch goes on as it was',
      ],
      'upgrade-late': [
        'the new process did not answer within {seconds} s, and was ended; the switch goes on ',
        'as it was',
      ],
      'upgrade-versions': [
        'the new process takes over by versions {reads} of the protocol, and this one hands over ',
        'by {version}; the switch goes on as it was, restart it',
      ],
      'upgrade-refused': 'the new process refused: {why}; the switch goes on as it was',
      'upgrade-strange': [
        'the new process said {said} in place of {wanted}, and was ended; the switch goes on as ',
        'it was',
      ],
      'upgrade-changed':
        'settings were changed while the new process started; the switch goes on, ask again',
      'upgrade-no-offer': 'the switch that was to be taken over has not handed over',
    },
  },
} as const satisfies Codes;
