/** Programs of the host, memory, and machines that run. */

import type { Codes } from './code.ts';

export const machinesCodes = {
  PROGRAM_MISSING: {
    means: 'a program of the host, such as QEMU, is missing',
    ends: 'the call',
    remedy: 'Install the package that the sentence names.',
    sentences: {
      'demo-programs-missing': [
        'not installed: {programs}; run as root, on Debian or Ubuntu: apt-get update && apt-get ',
        'install --no-install-recommends {packages}',
      ],
      'ssh-cannot-run': 'ssh cannot be run ({cause}); run `apt-get install openssh-client` as root',
      'ssh-keygen-missing':
        'ssh-keygen is not installed; run `apt-get install openssh-client` as root',
      'seed-program-missing': [
        'no program that makes CD images is installed; run `apt-get install genisoimage` as ',
        'root (xorriso or mkisofs serve as well)',
      ],
      'program-missing': '{program} is not installed; run `apt-get install {program}` as root',
      'qemu-img-missing': 'qemu-img is not installed; run `apt-get install qemu-utils` as root',
      'flock-missing': 'flock is not installed; run `apt-get install util-linux` as root',
      'qemu-missing': '{program} is not installed; run `apt-get install qemu-system-x86` as root',
      'ssh-missing': 'ssh is not installed; run `apt-get install openssh-client` as root',
      'uml-missing': '{program} is not installed; run `apt-get install user-mode-linux` as root',
      'tiny-program-missing': '{program} is not installed; run `apt-get install {package}` as root',
    },
  },
  PROGRAM_TOO_OLD: {
    means: 'a program of the host is too old',
    ends: 'the call',
    remedy: 'Install a newer version.',
    sentences: {
      'qemu-too-old': '{program} is of version {found}; a lab needs {oldest} or later',
    },
  },
  MEMORY_SHORT: {
    means: 'there is not enough memory',
    ends: 'the call',
    remedy: 'Give the machines less memory, start fewer, or free some.',
    sentences: {
      'memory-short': [
        'the machines to start need {neededMiB} MiB of memory and {availableMiB} MiB are ',
        'available; give them less, or start fewer',
      ],
      'uml-memory-short': [
        'the memory of User-mode Linux needs {neededMiB} MiB, and there are {available}; give ',
        'the machines less, or set TMPDIR to a file system with room',
      ],
    },
  },
  DISK_FULL: {
    means: 'a file system is full',
    ends: 'the call',
    remedy: 'Make room on it.',
    sentences: {
      'debian-disk-full': [
        'the Debian image cannot be built, since a file system is full: it takes 2 GiB in the ',
        'cache folder (XDG_CACHE_HOME) and 1 GiB for temporary files (TMPDIR); make room, or ',
        'set these to folders elsewhere',
      ],
      'image-disk-full': [
        'image {url}: {needed} are to come, and {free} are free where {file} would be; make ',
        'room there, or set XDG_CACHE_HOME to a folder elsewhere',
      ],
      'disk-full': '{about}: the file system is full; make room on it',
      'cache-full': 'the file system of the cache folder {root} is full; make room on it, {remedy}',
    },
  },
  CACHE_UNUSABLE: {
    means: 'the cache folder cannot be made or written to',
    ends: 'the call',
    remedy: 'Make it writable, or set XDG_CACHE_HOME.',
    sentences: {
      'cache-unusable':
        'the cache folder {root} cannot be used ({cause}); make it writable, {remedy}',
    },
  },
  MACHINE_FAILED: {
    means: 'a machine ended by itself, or did not do something in time',
    ends: 'the call',
    remedy: 'Look into its console and its log: `tsvswitch lab logs NAME`.',
    sentences: {
      'demo-ping-lost': 'vm{from}: not every ping was answered:\n{output}',
      'demo-tcp-lost': 'no TCP data of vm{from} arrived at vm{to}',
      'lab-nothing-to-ping': 'no two machines with addresses run; `tsvswitch lab up` starts them',
      'lab-pings-lost': [
        '{lost} of {pings} pings were not answered; `tsvswitch doctor --control {control}` ',
        'looks for the reason',
      ],
      'console-gone': '{name}: it has no console now ({cause}); `tsvswitch lab up` starts it',
      'log-missing': '{name}: there is no log yet ({cause}); `tsvswitch lab up` starts it',
      'command-failed': '{name}: `{line}` ended with status {status}:\n{stdout}{stderr}',
      'machine-down': '{name} does not run; `tsvswitch lab up` starts it',
      'iperf-failed': '{name}: iperf3 failed: {cause}',
      'machine-not-allowed':
        '{name}: the lab is let in and may do nothing (status {status}):\n{stderr}',
      'cloud-init-failed':
        '{name}: cloud-init failed; see /var/log/cloud-init.log in it:\n{errors}',
      'machine-switched-off': [
        '{name} switched itself off before it was ready, as its user-data or its image has it; ',
        '`tsvswitch lab up` starts it again',
      ],
      'machine-late':
        '{name}: {what}; it runs on{restarts}, with a console to look at, which shows:\n{shown}',
      'machine-said': '{what}',
      'machine-ended-in-command': '{name}: it ended in the middle of a command',
      'machine-no-exec':
        '{name}: nothing can be run in it now ({cause}); `tsvswitch lab up` starts it',
      'machine-ended': '{name}: {how}',
      'qmp-failed': '{name}: {cause}',
      'qemu-ended': '{name}: QEMU {how}{said}',
      'qemu-no-control-port': '{name}: QEMU does not open its control port',
      'guest-command-failed': '{name}: `{command}` ended with status {status}:\n{output}',
      'guest-shell-failed': '{name}: {cause}',
      'step-failed': '{name}',
      'several-failed': '{sentences}',
      'machine-socket-late': [
        '{name}: {who}, process {pid}, has not opened {what} within {seconds} s; look into ',
        '{log}, then `tsvswitch lab restart {name}`',
      ],
      'machine-switched-off-inside': '{name} was switched off from inside',
      'kernel-panicked': '{name}: its kernel panicked; its console ended with:\n{console}',
      'engine-ended': '{name}: {engine} ended by itself or was killed; its log ends with:\n{log}',
      'engine-ended-silently': '{name}: {engine} ended by itself or was killed; it said nothing',
    },
  },
  GUEST_KERNEL_UNAVAILABLE: {
    means: 'no kernel for the tiny guest is available',
    ends: 'the call',
    remedy: 'Run `apt-get update` as root, and try again.',
    sentences: {
      'kernel-packages-unknown': [
        'apt knows none of the kernel packages {packages}; run `apt-get update` as root, then ',
        'try again',
      ],
      'kernel-package-empty': '{file} holds no vmlinuz',
      'kernel-download-failed': [
        'apt-get cannot download {name}; is there a network, and was `apt-get update` run ',
        'lately?',
      ],
      'kernel-module-missing': 'the kernel has no module {module}',
    },
  },
  SWITCH_FAILED: {
    means: 'a switch in a process of its own ended, or did not come up',
    ends: 'the call',
    remedy: 'See what it said; the sentence has its last lines.',
    sentences: {
      'switch-not-started': 'the switch did not start; it said:\n{said}',
      'switch-late': '{what}; it said:\n{said}',
      'switch-ended': 'the switch ended with {how}{said}',
      'switch-not-listening': 'the switch does not listen within {seconds} s{said}',
    },
  },
  NEEDS_ROOT: {
    means: 'only root may do this',
    ends: 'the call',
    remedy: 'Run the printed commands as root.',
    sentences: {
      'root-needed': 'nothing was changed: run the commands above as root',
    },
  },
  HUGEPAGES_UNAVAILABLE: {
    means: 'huge pages cannot be reserved',
    ends: 'the call',
    remedy:
      'Free memory, ask for fewer, or do without: ordinary shared memory needs no ' +
      'preparation.',
    sentences: {
      'hugepages-fewer': [
        'the kernel found {found} huge pages in place of {to}, up from {from}, as memory is in ',
        'pieces: stop programs and try again, or prepare with --persist and boot',
      ],
      'hugepages-unknown-to-kernel': [
        'this kernel has no huge pages (or this container hides /sys/kernel/mm/hugepages); ',
        'machines get ordinary shared memory, which needs no preparation',
      ],
      'hugepages-too-many': [
        '{wanted} in huge pages would leave less than {left} of memory to everything else; ask ',
        'for at most --memory {most}, or free some',
      ],
      'hugepages-fewer-for-machines':
        'the kernel found {found} huge pages in place of {to}; free some memory or go without',
    },
  },
} as const satisfies Codes;
