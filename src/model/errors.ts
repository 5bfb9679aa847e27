/**
 * What goes wrong for an operator or an embedding program, as one class and one list of codes.
 *
 * Guests and frontends do not cause these: a bad guest breaks its queue, a bad frontend loses its
 * session (vhost-user/session.ts). Tests assert codes; sentences are for people.
 */

export const errorCodes = {
  /** An option or argument has the wrong type or lies outside its range. */
  BAD_OPTION: 'an option has an unusable value',
  /** A method was called on a switch, port or guest that is closed. */
  CLOSED: 'the object is closed',
  /** The compiled addon is missing or does not load on this machine. */
  NATIVE_UNAVAILABLE: 'the native addon cannot be loaded',
  /** This Node is older than package.json allows. */
  NODE_TOO_OLD: 'Node is too old',
  /** A system call failed in a way that has no code of its own here; `cause` has errno. */
  SYSTEM: 'the operating system refused',
  SOCKET_PATH_TOO_LONG: 'a unix socket path holds at most 107 bytes',
  SOCKET_FOLDER_MISSING: 'the folder of the socket does not exist',
  SOCKET_NO_PERMISSION: 'the socket may not be created here',
  SOCKET_NOT_A_SOCKET: 'the path is taken by something that is not a socket',
  SOCKET_IN_USE: 'another process listens on this socket',
  SOCKET_DUPLICATE: 'the same socket is given twice',
  SOCKET_GROUP_UNKNOWN: 'no such group',
  SOCKET_USER_UNKNOWN: 'no such user',
  /** A memory region came without a mappable, large enough file. */
  MEMORY_UNMAPPABLE: 'guest memory cannot be mapped',
  /** Ring addresses do not lie in the memory that was shared. */
  RING_UNMAPPED: 'a ring lies outside guest memory',
  /** What was passed to be signalled, or to be woken by, is something else than an eventfd. */
  BAD_EVENTFD: 'a file descriptor is no eventfd',
  /**
   * What was passed as the channel of the backend's own requests is something else than a socket.
   */
  BAD_SOCKET: 'a file descriptor is no socket',
  TOO_MANY_PORTS: 'no more ports can be added',
  TOO_MANY_WORKERS: 'no more workers can be added',
  /** The state folder cannot be made, read or written. */
  STATE_UNUSABLE: 'state cannot be kept',
  STATE_FULL: 'there is no room for state',
  /** A file in the state folder is not what this program wrote. */
  STATE_DAMAGED: 'kept state is damaged',
  /** A later version of this program wrote it. */
  STATE_LATER: 'kept state is of a later version',
  NO_SUCH_PORT: 'the switch has no port of this name',
  /** No switch listens on the control socket. */
  CONTROL_UNREACHABLE: 'no switch answers on the control socket',
  CONTROL_UNKNOWN_REQUEST: 'the control socket knows no such request',
  /** The body of a request on the control socket is not what it should be. */
  CONTROL_BAD_REQUEST: 'a request has an unusable body',
  CONTROL_BODY_TOO_LONG: 'a request has too long a body',
  /** As many connections or readers are served as there may be. */
  CONTROL_BUSY: 'the control socket serves no more clients',
  CONTROL_TOO_MANY_REQUESTS: 'too many requests of one connection wait',
  /** A mistake of this package; whoever meets one may report it. */
  UNEXPECTED: 'something failed that should not',
  /** A frame is too short or too long, or cannot be built from what was given. */
  BAD_FRAME: 'a frame cannot be what was given',
  /** A file is no capture, of no use here, or damaged. */
  BAD_CAPTURE: 'a capture cannot be read',
  /** A frame is not the one that a test expects. */
  FRAME_MISMATCH: 'a frame differs from what was expected',
  /** A wait of tsvswitch/testing ended without what it waited for. */
  TIMEOUT: 'nothing happened in the time given',
  /** The backend closed the connection of a vhost-user frontend. */
  DISCONNECTED: 'the other end closed the connection',
  /** The backend answered a request of a vhost-user frontend with a failure. */
  REFUSED: 'the other end refused a request',
  /** The backend wrote into a ring or answered with what the specification forbids. */
  PEER_VIOLATION: 'the other end broke the specification',
  /** A program of the host, such as QEMU, is missing; the message names its package. */
  PROGRAM_MISSING: 'a program this needs is not installed',
  /** A disk image is not there, cannot be downloaded or cannot be built. */
  IMAGE_UNAVAILABLE: 'a disk image cannot be had',
  /** A disk image is there, but no machine should be made from it. */
  IMAGE_REFUSED: 'a disk image is not usable',
  IMAGE_CHECKSUM: 'a downloaded image is not what was asked for',
  DISK_EXISTS: 'a disk is there already',
  DISK_FULL: 'a file system is full',
  /** The cache folder cannot be made or written to. */
  CACHE_UNUSABLE: 'the cache folder is not usable',
  PROGRAM_TOO_OLD: 'a program this needs is too old',
  MEMORY_SHORT: 'there is not enough memory',
  /** Another process changes the lab. */
  LAB_BUSY: 'a lab is being changed',
  /** The folders of a lab cannot be made, written or understood. */
  LAB_STATE_UNUSABLE: 'the state of a lab is not usable',
  LAB_PORT_TAKEN: 'a port for ssh is taken by somebody else',
  NO_SUCH_MACHINE: 'a lab has no machine of that name',
  GUEST_KERNEL_UNAVAILABLE: 'no kernel for the tiny guest can be had',
  /** QEMU ended by itself, or its guest did not do something in time. */
  MACHINE_FAILED: 'a virtual machine failed',
  /** A switch started as a process of its own ended or did not come up. */
  SWITCH_FAILED: 'the switch process failed',
  LAB_FILE_UNREADABLE: 'the file of a lab cannot be read',
  LAB_INVALID: 'the definition of a lab says what cannot be',
  /** The file of a service cannot be read. */
  CONFIG_UNREADABLE: 'the file of a switch cannot be read',
  CONFIG_INVALID: 'the file of a switch says what cannot be',
  NEEDS_ROOT: 'only root may do this',
  HUGEPAGES_UNAVAILABLE: 'huge pages cannot be reserved',
} as const;

/** The codes of errors, as `errorCodes` explains them. */
export type ErrorCode = keyof typeof errorCodes;

/** Every error this package throws on purpose. */
export class TsvswitchError extends Error {
  override readonly name = 'TsvswitchError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
