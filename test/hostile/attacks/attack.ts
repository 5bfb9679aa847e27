/**
 * What an attack is: everything a hostile guest or frontend does, in one ring format, on the
 * attacked port of a stage, whosever backend it is. What this switch makes of it, to the word, is
 * in the tests beside; whether a backend survives it is judged by verdict.ts.
 */

import type { Format } from '../raw-queue.ts';
import type { Stage } from '../stage.ts';

export interface Attack {
  /** One of `classes`. */
  readonly class: number;
  readonly name: string;
  readonly format: Format;
  /**
   * Returns when the attacker has done its worst and the backend has had its turn. Throws
   * NotOffered, and NotForwarded if something legal was not served; a TsvswitchError is the
   * attacker's own end.
   */
  readonly strike: (stage: Stage) => Promise<void>;
}

/** The classes of hostile guests and frontends, by what broke elsewhere. */
export const classes: Readonly<Record<number, string>> = {
  1: 'an address outside all regions',
  2: 'a buffer that begins inside memory and ends outside',
  3: 'a buffer that crosses two adjacent regions (legal)',
  4: 'address and length that wrap 64 bits',
  5: 'buffers of zero length',
  6: 'huge lengths',
  7: 'a next out of range',
  8: 'loops, with and without bytes',
  9: 'an index that jumps by more than the ring',
  10: 'an avail ring entry beyond the ring',
  11: 'indirect tables of every wrong kind',
  12: 'the write flag of the other direction',
  13: 'a chain shorter than the header, a header in pieces',
  14: 'checksums beyond the frame, behind VLAN tags and extension headers',
  15: 'segmentation that lies',
  16: 'frames below 14 bytes and above 64 KiB',
  17: 'memory rewritten by another thread while it is read',
  18: 'receive buffers too small or too many',
  19: 'packed rings: wrap bits, ids, endless chains',
  20: 'nonsensical event indexes, kick storms, guests that take nothing',
  21: 'frontends that break the protocol or take memory away',
  22: 'reconnect storms',
  23: 'a flood of addresses',
  24: 'call fds that block',
  25: 'frames and buffers that cost as much as one can, on many queues',
  26: 'memory that is made for a frontend, which keeps it',
  27: 'reports about somebody who has left',
  28: 'control queues: chains that are no command, storms',
};
