/** Labs: their files, images, disks and state. */

import type { Codes } from './code.ts';

export const labsCodes = {
  IMAGE_UNAVAILABLE: {
    means: 'a disk image is missing, cannot be downloaded or cannot be built',
    ends: 'the call',
    remedy: 'Correct the path or the URL, or try again when the server can be reached.',
    sentences: {
      'debian-build-failed': 'the Debian image cannot be built, {program} failed: {cause}',
      'image-download-broken': [
        'image {url}: {cause}, {attempts} times in a row; try again when the server can be ',
        'reached, the download then goes on where it stopped if the server allows it',
      ],
      'image-url-refused': 'image {url}: {answer}; correct the URL',
      'image-unreadable': 'image {path}: {cause}',
    },
  },
  IMAGE_REFUSED: {
    means: 'a disk image is there, but no machine should be made from it',
    ends: 'the call',
    remedy: 'Do what the sentence says, such as converting the image.',
    sentences: {
      'disk-image-changed':
        '{name}: {path}, which its disk is on top of, has been changed or removed; {remedy}',
      'image-too-new': [
        '{about}: it was made for a newer QEMU than the one here ({cause}); install a newer ',
        'qemu-utils',
      ],
      'image-open-elsewhere': [
        '{about}: another process has it open for writing; stop that machine, or use a copy of ',
        'the image',
      ],
      'image-qemu-img-failed': '{about}: {cause}',
      'image-format': [
        'image {path}: its format is {format}, not qcow2 or raw; make one with `qemu-img ',
        'convert -O qcow2 {path} NEW.qcow2`',
      ],
      'image-is-difference': [
        'image {path}: it is only what differs from {backing}; make one with `qemu-img convert ',
        '-O qcow2 {path} NEW.qcow2`',
      ],
      'image-data-elsewhere': [
        'image {path}: its data is in another file, {dataFile}; make one with `qemu-img convert ',
        '-O qcow2 {path} NEW.qcow2`',
      ],
      'image-encrypted': [
        'image {path}: it is encrypted; make one with `qemu-img convert -O qcow2 {path} ',
        'NEW.qcow2`',
      ],
      'image-no-sectors':
        'image {path}: {bytes} bytes are no raw disk: it would have whole sectors of 512 bytes',
      'image-packed': 'image {path}: it is packed; unpack it with `{program}`',
    },
  },
  IMAGE_CHECKSUM: {
    means: 'a downloaded image is not what was asked for',
    ends: 'the call',
    remedy:
      'Correct the sum if the image was meant to change, and do not use the image ' + 'otherwise.',
    sentences: {
      'image-checksum': [
        'image {url}: its {algorithm} is {found}, not {sum}; correct the sum if the image was ',
        'meant to change, and do not use the image otherwise',
      ],
    },
  },
  DISK_EXISTS: {
    means: 'a disk is there already',
    ends: 'the call',
    remedy: 'Remove the machine with its disk first: `tsvswitch lab destroy`.',
    sentences: {
      'disk-of-other-image': '{name}: its disk was made from {image}, not from {wanted}; {remedy}',
      'disk-exists': 'disk {path}: it is there already and stays as it is',
    },
  },
  LAB_BUSY: {
    means: 'another process changes the lab',
    ends: 'the call',
    remedy: 'Wait until it is done.',
    sentences: {
      'lab-busy': [
        'lab {name} is being changed by process {pid}; wait until it is done, or end that ',
        'process',
      ],
    },
  },
  LAB_STATE_UNUSABLE: {
    means: 'the folders of a lab cannot be made, written or understood',
    ends: 'the call',
    remedy: 'Do what the sentence says: it names the folder.',
    sentences: {
      'lab-state-foreign': [
        '{path} is not what a lab wrote ({cause}); remove {folder} if nothing in it is needed ',
        'any more',
      ],
      'lab-state-elsewhere': [
        'lab {name} runs with its state in {other}, and this would be another one in its place, ',
        'with state in {folder}; set HOME and XDG_STATE_HOME as they were when it was brought up',
      ],
      'lab-state-of-other-user': [
        '{path} belongs to user {uid}; a lab keeps its sockets, disks and keys only where ',
        'nobody else can: remove it',
      ],
      'lab-state-unwritable': [
        'the lab cannot keep its state in {folder} ({cause}); make that writable, or set ',
        'XDG_STATE_HOME',
      ],
    },
  },
  LAB_PORT_TAKEN: {
    means: 'a port for ssh is taken by somebody else',
    ends: 'the call',
    remedy: 'Free the port, or give the machine another sshPort.',
    sentences: {
      'lab-ssh-port-taken': [
        '{name}: port {sshPort} of 127.0.0.1 is taken; free it, give the machine another ',
        'sshPort, or none for any free one',
      ],
      'engine-port-taken':
        '{name}: {engine} ended by itself or was killed; its log ends with:\n{log}',
    },
  },
  NO_SUCH_MACHINE: {
    means: 'a lab has no machine of this name',
    ends: 'the call',
    remedy: 'Give one of the names in the sentence.',
    sentences: {
      'machine-unknown': 'lab {lab} has no machine {name}; it has {machines}',
    },
  },
  LAB_FILE_UNREADABLE: {
    means: 'the file of a lab cannot be read',
    ends: 'the call',
    remedy: 'Correct the path or the rights of the file.',
    sentences: {
      'lab-unreadable': '{why}',
      'lab-too-long': '{file} has more than {max} bytes, too many for the file of a lab',
      'lab-no-text': '{file} is not UTF-8 text; save it as UTF-8',
    },
  },
  LAB_INVALID: {
    means: 'the definition of a lab says what cannot be',
    ends: 'the call',
    remedy: 'Correct the lines that the sentence names.',
    sentences: {
      'setting-invalid': '{path}: {what}',
      'lab-definition-invalid': '{findings}',
      'lab-definition-no-data': "a lab's definition is plain data, which this is not: {cause}",
      'lab-no-yaml': '{mistakes}',
      'lab-empty': '{file} is empty; {smallest}',
      'lab-aliases': '{file}: its aliases repeat more than {max} values',
    },
  },
} as const satisfies Codes;
