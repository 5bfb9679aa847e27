/**
 * What a frontend did wrong, as a code and a sentence. Thrown by the parts of this folder and
 * caught in one place, the dispatcher of session.ts; it never leaves the folder as an exception.
 */

export const refusalCodes = {
  /** The header's version is not 1. */
  BAD_VERSION: 'unknown protocol version',
  BAD_FLAGS: 'a reply where a request was expected',
  BAD_SIZE: 'a payload of the wrong size',
  BAD_FDS: 'the wrong number of file descriptors',
  BAD_EVENTFD: 'a file descriptor that is no eventfd, or an eventfd that somebody had to wait for',
  BAD_SOCKET: 'a file descriptor that is no socket',
  BAD_REPLY: 'a wrong answer to a request of this backend',
  TRUNCATED: 'the stream ended within a message',
  UNKNOWN_REQUEST: 'a request this backend does not serve',
  MISSING_FEATURE: 'a request or bit that was not negotiated',
  BAD_QUEUE: 'a queue that does not exist',
  BAD_VALUE: 'a payload with an unusable value',
  WRONG_ORDER: 'a request that is not possible in this state',
  MEMORY_NOT_SHARED: 'guest memory came without a file',
  MEMORY_UNMAPPABLE: 'guest memory cannot be mapped',
  RING_UNMAPPED: 'a ring lies outside guest memory',
} as const;

export type RefusalCode = keyof typeof refusalCodes;

export class Refusal extends Error {
  override readonly name: string = 'Refusal';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

/**
 * What a guest asked for through its frontend, which has done nothing wrong: the frontend is told
 * so, and its session goes on.
 */
export class Declined extends Refusal {
  override readonly name = 'Declined';
}

/** What an operator can do about guest memory that reaches us without a file we may map. */
export const memoryRemedy =
  'guest memory is not shared: add share=on to the memory backend (QEMU: -object ' +
  'memory-backend-memfd,id=mem,size=...,share=on and -machine memory-backend=mem)';
