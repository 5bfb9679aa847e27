/** Prints a log that grows, and goes on printing what is added to it. */

import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '../../model/errors.ts';

const chunkBytes = 64 * 1024;
const lookAgainMs = 200;

/**
 * With `follow` it returns when nobody reads standard output any more, and at Ctrl-C with the
 * process.
 */
export async function printLog(name: string, path: string, follow: boolean): Promise<void> {
  const file = await open(path).catch((cause: Error) => {
    throw failure('log-missing', { name, cause: cause.message }, { cause });
  });
  const reader = new AbortController();
  process.stdout.on('error', () => reader.abort());
  const chunk = Buffer.alloc(chunkBytes);
  let position = 0;
  try {
    while (!reader.signal.aborted) {
      const { bytesRead } = await file.read(chunk, 0, chunkBytes, position);
      position += bytesRead;
      if (bytesRead > 0) {
        // A copy, since what is written may be read only later.
        if (!process.stdout.write(Buffer.from(chunk.subarray(0, bytesRead)))) {
          await once(process.stdout, 'drain', { signal: reader.signal });
        }
      } else if (!follow) return;
      else {
        // A machine that is started again begins a new log in the same file.
        if ((await file.stat()).size < position) position = 0;
        await sleep(lookAgainMs, undefined, { signal: reader.signal });
      }
    }
  } catch (error) {
    if (!reader.signal.aborted) throw error;
  } finally {
    await file.close();
  }
}
