/**
 * Downloads an image into the cache folder, once, and only if its checksum is the one asked for.
 *
 * A download that breaks off is gone on with: a few times at once, and by the next command after
 * that. The server says whether the file is still the same (If-Range with its entity tag or date);
 * one that cannot tell or knows no ranges sends all of it again. The sum is taken of what lies on
 * disk at the end, whatever way it came there; if it is wrong, nothing is kept.
 *
 * Proxies are taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
 *
 * Source: RFC 9110 §13.1.5 (If-Range), §14 (ranges).
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, EnvHttpProxyAgent, fetch, type Response } from 'undici';
import { cachedFolder } from '../../machine/cache.ts';
import { failure } from '../../model/errors.ts';
import type { Checksum, ImageOptions, ImageProgress } from './source.ts';

export interface DownloadOptions extends ImageOptions {
  /** Before the second attempt; doubles from attempt to attempt. */
  readonly pauseMs?: number;
}

const attemptsMax = 5;
/** A server that says nothing for so long is gone. */
const silenceLimitMs = 30_000;
const progressIntervalMs = 100;

/** The path of the file at `url` that has this checksum. */
export async function downloadedImage(
  url: string,
  checksum: Checksum,
  options: DownloadOptions = {},
): Promise<string> {
  const folder = await cachedFolder(
    `image-${checksum.sum}`,
    (into) => download(url, checksum, into, options),
    {
      resume: true,
      signal: options.signal,
      waiting: () => options.progress?.({ phase: 'waiting for another process that downloads it' }),
    },
  );
  return join(folder, 'disk');
}

/** What makes the part that is there worth going on with. */
interface Origin {
  readonly url: string;
  /** For If-Range. */
  readonly validator: string;
  readonly totalBytes: number | undefined;
}

/** One download as it goes on over several attempts. */
interface Job {
  readonly url: string;
  readonly file: string;
  /** Where the Origin of `file` is kept. */
  readonly originFile: string;
  readonly dispatcher: Agent | EnvHttpProxyAgent;
  readonly progress: (progress: ImageProgress) => void;
  readonly signal: AbortSignal | undefined;
}

/** A failure that may not happen again. */
class Interruption extends Error {}

async function download(
  url: string,
  { algorithm, sum }: Checksum,
  folder: string,
  { progress = () => {}, signal, pauseMs = 500 }: DownloadOptions,
): Promise<void> {
  const limits = { headersTimeout: silenceLimitMs, bodyTimeout: silenceLimitMs };
  const hasProxy = Object.keys(process.env).some((name) => /^https?_proxy$/i.test(name));
  const dispatcher = hasProxy ? new EnvHttpProxyAgent(limits) : new Agent(limits);
  const [file, originFile] = [join(folder, 'disk'), join(folder, 'origin.json')];
  const job: Job = { url, file, originFile, dispatcher, progress, signal };
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        const wasResumed = await receive(job);
        const found = await sumOf(job, algorithm);
        if (found === sum) break;
        await discard(job);
        // What an earlier command left may have been damaged in between.
        if (wasResumed) throw new Interruption('what was there already does not fit the rest');
        throw failure('image-checksum', { url, algorithm, found, sum });
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof Interruption)) throw error;
        if (attempt === attemptsMax) {
          throw failure(
            'image-download-broken',
            { url, cause: error.message, attempts: attemptsMax },
            { cause: error },
          );
        }
        progress({ phase: `trying again, ${error.message}` });
        await sleep(pauseMs * 2 ** (attempt - 1), undefined, { ...(signal && { signal }) });
      }
    }
    await rm(originFile, { force: true });
  } catch (error) {
    // A part that fills the disk is not left there.
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') await discard(job);
    throw error;
  } finally {
    await dispatcher.destroy();
  }
}

async function discard({ file, originFile }: Job): Promise<void> {
  await rm(originFile, { force: true });
  await rm(file, { force: true });
}

/** Gets what is missing of the file. Whether some of it was there before. */
async function receive(job: Job): Promise<boolean> {
  const origin = await knownOrigin(job);
  const { size: present } = await stat(job.file).catch(() => ({ size: 0 }));
  const resumable = origin !== undefined && present > 0;
  if (resumable && present === origin.totalBytes) return true;
  const response = await request(job, resumable ? { present, validator: origin.validator } : null);
  const start = response.status === 206 ? present : 0;
  const lengthText = response.headers.get('content-length');
  const totalBytes = lengthText === null ? undefined : start + Number(lengthText);
  if (totalBytes !== undefined) await checkSpace(job, totalBytes - start);
  if (start === 0) await remember(job, response, totalBytes);
  const file = await open(job.file, start === 0 ? 'w' : 'a');
  let received = start;
  try {
    let reportedMs = 0;
    for await (const part of response.body ?? []) {
      await file.writeFile(part);
      received += part.length;
      if (Date.now() - reportedMs < progressIntervalMs) continue;
      reportedMs = Date.now();
      job.progress({
        phase: 'downloading',
        ...(totalBytes !== undefined && { fraction: received / totalBytes }),
      });
    }
    await file.datasync();
  } catch (error) {
    throw asInterruption(error);
  } finally {
    await file.close();
  }
  if (totalBytes !== undefined && received !== totalBytes) {
    throw new Interruption(`the connection ended after ${received} of ${totalBytes} bytes`);
  }
  return start > 0;
}

/**
 * Sends the request and returns the answer if it is the whole file or the rest that was asked for.
 */
async function request(
  job: Job,
  part: { readonly present: number; readonly validator: string } | null,
): Promise<Response> {
  const response = await fetch(job.url, {
    dispatcher: job.dispatcher,
    signal: job.signal ?? null,
    headers: {
      // A sum is taken of the file, not of what a server packs for the way.
      'accept-encoding': 'identity',
      ...(part && { range: `bytes=${part.present}-`, 'if-range': part.validator }),
    },
  }).catch((error) => {
    throw asInterruption(error);
  });
  const range = response.headers.get('content-range') ?? '';
  const isRest = response.status === 206 && range.startsWith(`bytes ${part?.present}-`);
  if (response.status === 200 || isRest) return response;
  await response.body?.cancel();
  const answer = `the server answers ${response.status} ${response.statusText}`.trimEnd();
  if (part && [206, 416].includes(response.status)) {
    await discard(job);
    throw new Interruption(`${answer} to a request for the rest`);
  }
  if (response.status >= 500 || [408, 429].includes(response.status)) {
    throw new Interruption(answer);
  }
  throw failure('image-url-refused', { url: job.url, answer });
}

async function knownOrigin({ url, originFile }: Job): Promise<Origin | undefined> {
  try {
    const origin = JSON.parse(await readFile(originFile, 'utf8')) as Origin;
    return origin.url === url ? origin : undefined;
  } catch {
    // None, or half of one: then all is asked for.
    return undefined;
  }
}

async function remember(
  { url, originFile }: Job,
  { headers }: Response,
  totalBytes: number | undefined,
): Promise<void> {
  const tag = headers.get('etag');
  // A weak tag stands for equal meaning, not for equal bytes.
  const validator = tag?.startsWith('"') ? tag : headers.get('last-modified');
  await rm(originFile, { force: true });
  if (validator === null) return;
  const origin: Origin = { url, validator, totalBytes };
  await writeFile(originFile, JSON.stringify(origin));
}

async function checkSpace({ url, file }: Job, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(join(file, '..'));
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  if (bavail * bsize < neededBytes) {
    throw failure('image-disk-full', {
      url,
      needed: mebibytes(neededBytes),
      free: mebibytes(bavail * bsize),
      file,
    });
  }
}

async function sumOf(
  { file, progress, signal }: Job,
  algorithm: Checksum['algorithm'],
): Promise<string> {
  progress({ phase: 'verifying' });
  const hash = createHash(algorithm);
  for await (const part of createReadStream(file, { ...(signal && { signal }) })) hash.update(part);
  return hash.digest('hex');
}

/** Failures of the network, which undici wraps; others stay as they are. */
function asInterruption(error: unknown): unknown {
  const { name, message, cause } = error as Error;
  if (name !== 'TypeError') return error;
  return new Interruption(cause instanceof Error ? cause.message : message, { cause: error });
}
