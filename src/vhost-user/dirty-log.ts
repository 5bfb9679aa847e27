/**
 * What a frontend says about the log of a migration, checked: that it lies in a file, and that it
 * has a bit for every page it is to be told of.
 *
 * Pure. Source: vhost-user "Migration", VHOST_USER_SET_LOG_BASE.
 */

import { hex } from '../model/sentence.ts';
import type { LogArea } from './message.ts';
import { refusal } from './refusal.ts';

/** One byte of the log stands for eight pages of VHOST_LOG_PAGE bytes. */
const guestBytesPerLogByte = 8n * 0x1000n;
/** File offsets are signed: a mapping ends below this. */
const fileEnd = 1n << 63n;

/** Throws Refusal; `guestEnd` is the first guest address behind all regions. */
export function checkLog(log: LogArea, guestEnd: bigint): void {
  const { sizeBytes, offsetBytes } = log;
  if (sizeBytes === 0n || offsetBytes + sizeBytes > fileEnd) {
    throw refusal('log-in-no-file', {
      bytes: String(sizeBytes),
      fileOffset: String(offsetBytes),
    });
  }
  if (guestEnd > 0n) requireCovered(log, guestEnd - 1n, 'guest memory');
}

/** Pages that the log has no bit for would be left behind by the migration without a word. */
export function requireCovered(log: LogArea, guestAddress: bigint, what: string): void {
  if (guestAddress / guestBytesPerLogByte < log.sizeBytes) return;
  throw refusal('log-too-short', {
    bytes: String(log.sizeBytes),
    guestAddress: hex(guestAddress),
    what,
  });
}
