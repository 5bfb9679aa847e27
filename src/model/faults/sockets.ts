/** Unix sockets of ports and of control. */

import type { Codes } from './code.ts';

export const socketsCodes = {
  SOCKET_PATH_TOO_LONG: {
    means: 'a unix socket holds at most 107 bytes of path',
    ends: 'the call',
    remedy: 'Choose a shorter path, for example under /run.',
    sentences: {
      'lab-socket-path-too-long': [
        'a unix socket has a path of at most {max} bytes, and {path} has {excess} too many; set ',
        '{variable} to a folder with a shorter path than {root}, such as /tmp',
      ],
      'socket-path-too-long': [
        'socket {path}: the path has {bytes} bytes, but a unix socket path holds at most {max}; ',
        'choose a shorter one, for example under /run',
      ],
      'control-path-too-long': [
        'control socket {path}: the path has {bytes} bytes, but a unix socket path holds at ',
        'most {max}; give its switch a shorter one, for example under /run',
      ],
    },
  },
  SOCKET_FOLDER_MISSING: {
    means: 'the folder of the socket does not exist',
    ends: 'the call',
    remedy: 'Create the folder, or correct the path.',
    sentences: {
      'socket-folder-missing':
        'socket {path}: folder {folder} does not exist; create it with `mkdir -p {folder}`',
      'socket-folder-no-folder': 'socket {path}: {folder} is not a folder; choose another path',
      'datagram-folder-missing':
        'socket {path}: folder {folder} does not exist; make it or choose another path',
    },
  },
  SOCKET_NO_PERMISSION: {
    means: 'the socket may not be created here, or not for that group',
    ends: 'the call',
    remedy: 'Choose a folder you may write to, join the group, or run as root.',
    sentences: {
      'socket-unit-differs':
        'socket {path}: its socket unit made it with {is}, wanted is {wanted}; put {key} there',
      'socket-group-refused': [
        'socket {path}: user {uid} may not give it to group {group}; join that group or run as ',
        'root',
      ],
      'socket-folder-unwritable': [
        'socket {path}: user {uid} may not create or replace it in {folder}; choose a folder ',
        'you may write to, or change its owner',
      ],
      'datagram-no-permission': 'socket {path}: no permission to make a file in {folder}',
    },
  },
  SOCKET_NOT_A_SOCKET: {
    means: 'the path is taken by something that is not a socket',
    ends: 'the call',
    remedy: 'Remove what is there, or choose another path.',
    sentences: {
      'socket-path-taken': 'socket {path}: {what} is in the way; remove it or choose another path',
      'datagram-path-taken':
        'socket {path}: a file is in the way; remove it or choose another path',
    },
  },
  SOCKET_IN_USE: {
    means: 'another process uses this socket',
    ends: 'the call',
    remedy: 'Stop that process, or choose another path.',
    sentences: {
      'console-taken': [
        '{name}: another terminal is on its console; leave that one with Ctrl-] first, or read ',
        'along with `tsvswitch lab logs -f {name}`',
      ],
      'socket-in-use':
        'socket {path}: {listener} listens on it; stop that process or choose another path',
      'socket-just-taken': [
        'socket {path}: another process has just taken it; stop that process or choose another ',
        'path',
      ],
      'datagram-in-use':
        'socket {path} is in use by another program; stop it or choose another path',
    },
  },
  SOCKET_DUPLICATE: {
    means: 'the same socket is given twice',
    ends: 'the call',
    remedy: 'Give every port a socket of its own.',
    sentences: {
      'socket-twice': 'socket {socket} is given twice; every port needs a socket of its own',
    },
  },
  SOCKET_GROUP_UNKNOWN: {
    means: 'there is no such group',
    ends: 'the call',
    remedy: 'Give a group that `getent group` lists.',
    sentences: {
      'socket-group-unknown':
        'socket {path}: there is no group {group}; `getent group` lists those there are',
      'allow-group-unknown':
        '{subject}: there is no group {name}; `getent group` lists those there are',
    },
  },
  SOCKET_USER_UNKNOWN: {
    means: 'there is no such user',
    ends: 'the call',
    remedy: 'Give a user that `getent passwd` lists.',
    sentences: {
      'user-unknown': '{subject}: there is no user {name}; `getent passwd` lists those there are',
    },
  },
} as const satisfies Codes;
