/** What belongs to no one area. */

import type { Codes } from './code.ts';

export const generalCodes = {
  CLOSED: {
    means: 'a method was called on something that is closed',
    ends: 'the call',
    remedy: 'Call it before close(), or open the thing anew.',
    sentences: {
      'socket-closed': 'socket {path} is closed',
      'connection-closed': 'the connection is closed',
      'port-closed': 'port {name} is closed',
      'handle-closed': '{what} is closed',
      'switch-closed': 'the switch is closed',
      'guest-closed': 'this guest is closed',
      'frontend-closed': 'this frontend is closed',
      'guest-gone': 'this guest is {state}',
      'network-closed': 'the network was closed',
      'shell-closed': '{name}: the shell was closed',
    },
  },
  NATIVE_UNAVAILABLE: {
    means: 'the native addon cannot be loaded',
    ends: 'the call',
    remedy: 'Do what the sentence says: install the package again, or build the addon.',
    sentences: {
      'addon-unusable': 'the native addon {file} {what}; {remedy}',
      'addon-not-built': 'the native addon is not built; run `npm run build`',
      'addon-not-for-platform': 'there is no native addon for {platform}{others}; {remedy}',
      'addon-unreadable': 'the native addon cannot be read ({cause}); {remedy}',
      'addon-needs-glibc':
        'the native addon {file} needs {wanted} and {platform} here has {present}; {remedy}',
      'addon-without-glibc': 'the package brings none for {platform} without glibc; {remedy}',
      'addon-unloadable': 'the native addon cannot be loaded ({cause}); {remedy}',
    },
  },
  NODE_TOO_OLD: {
    means: 'Node is older than package.json allows',
    ends: 'the call',
    remedy: 'Install a newer Node.',
    sentences: {
      'node-too-old': [
        'tsvswitch needs Node {oldest} or later and this is {version}; install a newer one ',
        '(https://nodejs.org/en/download)',
      ],
    },
  },
  SYSTEM: {
    means: 'the operating system refused; `cause` has the number of the error',
    ends: 'the call',
    remedy: 'Look for the reason that the sentence names: a limit, a file, a right.',
    sentences: {
      'call-failed': '{action}: {reason}',
      'no-thread-safe-function': 'Node.js makes no thread-safe function',
      'capture-incomplete': 'the capture is not complete: {cause}',
      'host-change-failed':
        '{what} cannot be done: `{command}`: {cause} (in a container, do it on the host)',
      'ssh-key-failed': 'ssh-keygen cannot make a key in {folder}: {cause}',
      'seed-failed': 'machine {name}: its seed cannot be made at {path}: {cause}',
      'lock-failed': '{file} cannot be locked: {cause}',
      'socket-file-gone':
        'socket {path}: its file is gone, or another one is in its place; open the port anew',
      'peer-does-not-read': 'the peer does not read: {sent} of {bytes} bytes could be sent',
      'sandbox-failed': '{cause}; --no-sandbox runs the switch without this protection',
      'socket-failed': 'socket {path}: {cause}',
      'cpu-missing': 'cpus: this machine has no CPU {cpu} that is online',
      'capture-file-failed': 'the capture {path} cannot be {done}: {cause}',
      'notify-socket-failed': 'NOTIFY_SOCKET: {cause}; the service manager is told nothing',
      'metrics-unserved': 'metrics cannot be served on {host}:{port}: {cause}',
      'listen-failed': 'listen: requests cannot be taken on {address}: {cause}',
      'settings-failed': '{cause}',
    },
  },
  UNEXPECTED: {
    means: 'something failed that should not',
    ends: 'the call',
    remedy: 'Report the sentence and what the log says: this is a mistake of tsvswitch.',
    sentences: {
      'request-mistaken': [
        'the switch made a mistake with this request, which is in its log; it goes on without ',
        'having answered',
      ],
    },
  },
  TIMEOUT: {
    means: 'nothing happened in the time given',
    ends: 'the call',
    remedy: 'Wait longer, or find out why what was waited for does not happen.',
    sentences: {
      'command-late':
        '{name}: `{line}` did not end within {seconds} s; it wrote:\n{stdout}{stderr}',
      'wait-over': '{what}: nothing happened in time',
      'frame-not-come': '{expected}, got {got} {limit}',
      'frame-not-among': '{expected}, got {count} other frames {limit}{last}:{list}',
      'nothing-within': '{what}: nothing within {timeoutMs} ms',
    },
  },
  NO_SUCH_PORT: {
    means: 'the switch has no port of this name',
    ends: 'the call',
    remedy: 'Give the name of a port that there is: `tsvswitch status` lists them.',
    sentences: {
      'port-unknown': 'the switch has no port named {name}',
      'doctor-no-port': [
        'the switch at {control} has no port; start it with --socket, or add one with `curl ',
        '--unix-socket {control} -d \'{"path": "..."}\' http://localhost/v1/ports`',
      ],
      'port-unknown-of': 'there is no port {port}; there are {names}',
    },
  },
  NO_SUCH_BRIDGE: {
    means: 'the switch has no bridge of this name',
    ends: 'the call',
    remedy: 'Give the name of a bridge that there is, or add it.',
    sentences: {
      'bridge-unknown-of': 'there is no bridge {bridge}; there are {names}',
    },
  },
  TOO_MANY_PORTS: {
    means: 'no more ports can be added',
    ends: 'the call',
    remedy: 'Remove a port first, or open another switch.',
    sentences: {
      'no-more-ports': 'a switch has at most {max} ports',
      'no-more-bridges': 'a switch has at most {max} bridges',
      'too-many-ports': '{key}: {number} at once, and a switch has at most {max}',
    },
  },
  FDB_FULL: {
    means: 'a bridge knows as many addresses as it can',
    ends: 'the call',
    remedy: 'Flush what it has learned, or fix fewer addresses.',
    sentences: {
      'fdb-full': 'bridge {bridge} has no room for {mac}; flush what it has learned',
    },
  },
  TOO_MANY_WORKERS: {
    means: 'no more workers can be added',
    ends: 'the call',
    remedy: 'Go on with those there are.',
    sentences: { 'no-more-workers': 'a switch has at most {max} workers' },
  },
} as const satisfies Codes;
