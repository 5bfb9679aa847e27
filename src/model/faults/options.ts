/** What programs and operators give that cannot be. */

import type { Codes } from './code.ts';

export const optionsCodes = {
  BAD_OPTION: {
    means: 'an option or argument has an unusable value',
    ends: 'the call',
    remedy: 'Correct the option that the sentence names.',
    sentences: {
      'bridge-there': 'bridge {bridge} is there already',
      'fdb-nowhere': 'where {mac} is, is missing: --port NAME, or --drop if it is nowhere',
      'fdb-not-fixed': '{mac} is not fixed',
      'worker-last': 'this is the last worker, and a switch needs one',
      'bridge-stays': 'bridge {bridge} cannot be removed; {why}',
      'uml-connects-only': 'User-mode Linux connects only; add a port that listens',
      'snippet-of-kind': 'port {port} is of kind {kind}; machines connect to vhost-user',
      'no-pair': '{word} is not written as KEY=VALUE, such as mtu=9000',
      'unit-unknown': '{value} has no unit that is known here; write {example}',
      'key-unknown': '{what}',
      'capture-stream-read': 'a capture that goes to a stream is read there only',
      'capture-snap': 'snapBytes: {snapBytes} is not an integer from {min} to {max}',
      'capture-of-both': 'a capture is of a port or of a bridge, not of both',
      'bridge-unknown': 'bridge: no port has been on {name}',
      'replay-untimed':
        'timing: packet {packet} of the capture does not say when it was; give { intervalMs }',
      'replay-timing': 'timing: {given} is neither original nor { intervalMs } of 0 or more',
      'replay-too-late': 'timing: packet {packet} would be sent after 24 days',
      'capture-to-terminal': [
        'a capture is nothing to read in a terminal; give --to FILE, or pipe it into `tcpdump ',
        '-r -`',
      ],
      'group-unknown': '--group {group}: there is no such group; `getent group` lists them',
      'set-no-pair': '--set {setting}: expected key=value, such as memory=512M',
      'set-no-yaml': '--set {setting}: the value is not YAML',
      'lab-addition-taken': '{name}: {what} is that of {other}; give it another',
      'disk-below-image': [
        'disk {path}: {bytes} are less than its image {image} has, {imageBytes}; ask for that ',
        'much or leave the size out',
      ],
      'uml-has-no-ssh': [
        '{name} is User-mode Linux, which has no ssh; use `tsvswitch lab exec {name} -- ',
        'COMMAND` or `tsvswitch lab console {name}`',
      ],
      'machine-without-address': '{name} has no address on the switch',
      'option-key-unknown': '{name}: {what}',
      'option-not': '{name}: {value} is not {expected}',
      'socket-path-empty': 'the socket path is empty',
      'socket-mode': 'socket {path}: mode {mode} is not one of 0 to 0o777',
      'source-empty': 'source: neither macs nor addresses are listed; leave it out to allow all',
      'source-no-list': 'source: {name} is not a list of at most {max}',
      'source-no-mac': 'source: {text} is not the MAC address of a card, such as 52:54:00:00:00:01',
      'source-no-network': [
        'source: {text} is not an IP address or network, such as 10.0.0.1, fd00::1 or ',
        '10.0.0.0/24',
      ],
      'timeout-negative': 'timeoutMs: {timeoutMs} is not 0 or more',
      'allow-nobody': [
        "{subject}: allow lists nobody; leave it out to let in whom the file's permissions let ",
        'in',
      ],
      'allow-name': [
        '{subject}: allow names {peer}; a user such as qemu or 1000 was expected, or a group ',
        'such as :kvm or :36',
      ],
      'port-name-taken': 'a port named {name} exists; names are unique',
      'port-no-options': 'port: {options} is not an object of options',
      'dgram-no-allow': 'socket {path}: a dgram port has no allow: {why}',
      'clock-unknown': 'clock: {clock} is not machine or manual',
      'clock-manual-no-workers': [
        'clock: a switch whose clock is manual has no threads; leave workers, cpus and sandbox ',
        'out',
      ],
      'advance-ms': 'ms: {ms} is not 0 to {max}',
      'clock-not-manual':
        "this switch runs by itself; open it with { clock: 'manual' } to run it step by step",
      'cpus-too-many': 'cpus: {cpus} CPUs for {workers}; give at most one each',
      'cpu-taken': [
        '{option}: worker {worker} is pinned to CPU {cpu} already; give each worker a CPU of ',
        'its own',
      ],
      'clock-manual-threadless':
        'workers: a switch whose clock is manual has no threads, and can be given no workers',
      'command-too-long': 'data: {bytes} bytes, a command has at most {max}',
      'chain-of-too-many': 'queue {queue}: a chain of {pieces} pieces; 1 to {max} fit',
      'ring-of-other-format':
        'queue {queue} has a {format} ring; read {accessor}, or negotiate the other format',
      'matcher-unknown': 'matcher: {matcher} is no pattern, frame or function',
      'memory-table-too-long': [
        'SET_MEM_TABLE: {regions} regions, a table holds {max}; more need a backend that speaks ',
        'CONFIGURE_MEM_SLOTS',
      ],
      'memory-region-state': 'memory region {index} is {state}',
      'memory-uncuttable': [
        'guest memory: {sizeBytes} bytes cannot be cut into {regions} regions of whole ',
        '{pageBytes}-byte pages',
      ],
      'memory-unpluggable':
        'guest memory: {plugged} of {regions} regions cannot be plugged; 1 to {regions} can',
      'memory-region-unknown':
        'guest memory: there is no region {index} of {regions}, counted from 0',
      'memory-used-up': [
        'guest memory: {bytes} bytes do not fit behind the {offset} in use of {endBytes}; ask ',
        'for more memory',
      ],
      'number-beyond': '{name}: {value} is not a whole number from {min} to {max}',
      'option-no-object': '{name}: {value} is no object',
      'option-no-timeout': '{name}: {value} is not a number of milliseconds from 0 to {max}',
      'features-too-wide': '{name}: {value} has more than 64 bits',
      'features-no-choice': '{name}: neither a bigint nor an array of names',
      'feature-unknown': '{name}: there is no feature {feature}',
      'guest-path': 'path: {path} is not a path',
      'guest-control-queue': 'controlQueue: {value} is neither true nor false',
      'guest-memory-kind': 'memory: {value} is none of {known}',
      'frames-no-array': 'frames: {value} is no array',
      'guest-ring-size': [
        'queueSize: {size} is not a power of two, as a split ring must have; with ',
        'VIRTIO_F_RING_PACKED any size is possible',
      ],
      'indirect-not-agreed': 'indirect: VIRTIO_F_INDIRECT_DESC was not agreed on',
      'guest-without-control-queue': 'this guest was connected without controlQueue: true',
      'header-field': 'header.{name}: {value} is not a whole number from 0 to {max}',
      'pieces-no-array': 'pieces: {pieces} is not an array of whole numbers from 1 to {max}',
      'pieces-too-long':
        'pieces: {pieces} are {wantedBytes} bytes, more than the {totalBytes} there are',
      'header-no-fields': 'header: neither fields nor bytes but {header}',
      'header-size': 'queue {queue}: a header of {bytes} bytes where {agreed} were agreed on',
      'tiny-machines': 'a tiny network has 1 to {max} machines, not {machines}',
      'tiny-machine-option': 'vm{number}: {what}',
      'guest-command-lines': 'a guest command is one line, got {command}',
      'metrics-address':
        '{text} is no address to listen on, such as 127.0.0.1:9477, [::1]:9477 or :9477',
      'control-url': [
        '{url} is no address of a switch, such as https://switch.example:9443, or ',
        'http://127.0.0.1:9443 on its own host',
      ],
      'listen-address':
        'listen: {text} is no address to listen on, such as 127.0.0.1:9443, [::1]:9443 or :9443',
      'listen-plain': [
        'listen: {address} is reached from other hosts, where a token needs TLS; give a ',
        'certificate and a key, or listen on 127.0.0.1',
      ],
      'listen-half-tls': 'listen: {given} is given without {missing}; TLS needs both',
      'listen-tls': 'listen: TLS cannot be made of this certificate and key: {cause}',
      'listen-file': '{what} {path} cannot be read: {cause}',
      'listen-key-open': [
        'listen: key {path} may be read by every user of this host (mode {mode}); make that ',
        '`chmod 600 {path}`',
      ],
      'token-open': [
        'token file {path} may be read by others (mode {mode}); make that ',
        '`chmod 600 {path}`',
      ],
      'token-no-file': 'token file {path} is no regular file of this user or of root',
      'token-unmade': 'there is no token file {path}, and none can be made: {cause}',
      'token-text': [
        '{what} is not {min} to {max} visible ASCII characters without spaces; make one with ',
        '`openssl rand -hex 32`',
      ],
      'token-twice': 'the token of readers is the one that may change everything',
      'config-elsewhere': [
        '{file} is on the host of the switch: save it there, or print the settings with ',
        '`tsvswitch config show`',
      ],
      'listen-without-address': '{option} is for the address of --listen, which is not given',
      'clock-manual-no-more-workers':
        'a switch whose clock is manual has no threads, and can be given no workers',
    },
  },
} as const satisfies Codes;
