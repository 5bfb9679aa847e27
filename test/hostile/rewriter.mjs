/**
 * The second thread of a hostile guest, run as a worker (in JavaScript, which every Node loads):
 * maps the guest's memory for itself and writes two values in turn to the same places, over and
 * over, until `word` is no longer 0. What for, and what it is given, is in race.test.ts.
 */

import { parentPort, workerData } from 'node:worker_threads';
import mmap from 'mmap-io';

/** Rounds between two looks at the word. */
const roundsPerLook = 64;

const { fd, sizeBytes, rewrites, word } = workerData;
const bytes = mmap.map(sizeBytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0);
const words = new Uint32Array(bytes.buffer, bytes.byteOffset, sizeBytes / 4);
parentPort.postMessage('running');
while (Atomics.load(word, 0) === 0) {
  for (let round = 0; round < roundsPerLook; round++) {
    for (const { offset, values } of rewrites) Atomics.store(words, offset / 4, values[round % 2]);
  }
}
