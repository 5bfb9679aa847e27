/**
 * Commands in a guest side by side, over a line that runs one at a time (shell.ts).
 *
 * A job is a folder of the guest: what is to run, what it reads, and what it has written so far; a
 * command of its own starts it in the background, and others look how far it has come. So the line
 * is free meanwhile, both outputs stay apart, and bytes arrive as they are, in base64.
 *
 * What a job reads has to be there before it starts. Outputs come in pieces, at most a look apart.
 */

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestShell } from './shell.ts';

export interface JobRequest {
  /** For the guest's shell; any number of lines. */
  readonly command: string;
  readonly input: Uint8Array;
  readonly onOutput: (stream: 'stdout' | 'stderr', bytes: Buffer) => void;
  /** Kills the job. */
  readonly signal: AbortSignal;
}

/**
 * Of base64 in a command: the guest reads a line byte by byte, and its terminal holds 4096 of them.
 */
const chunkCharacters = 3000;
/** A guest answers in milliseconds; with others on the host's processors it takes its time. */
const commandLimitMs = 120_000;
const lookPausesMs = { first: 20, last: 200 } as const;

/** Runs a job to its end; its exit status. Throws what `signal` is aborted with, MACHINE_FAILED. */
export async function runJob(
  shell: GuestShell,
  { command, input, onOutput, signal }: JobRequest,
): Promise<number> {
  const folder = `/tmp/jobs/${randomBytes(8).toString('hex')}`;
  const check = (line: string) => shell.check(line, commandLimitMs);
  await check(`mkdir -p ${folder} && cd ${folder} && touch in out err`);
  try {
    for (const [file, bytes] of [
      ['run', Buffer.from(command)],
      ['in', input],
    ] as const) {
      await upload(check, `${folder}/${file}`, Buffer.from(bytes));
    }
    // The leader of the session knows its own number; a job that is killed leaves its status, too.
    const inner = `echo $$ >${folder}/pid; cd; exec sh ${folder}/run`;
    await check(
      `(setsid sh -c '${inner}' <${folder}/in >${folder}/out 2>${folder}/err; echo $? ` +
        `>${folder}/status) >/dev/null 2>&1 &`,
    );
    const seen = { stdout: 0, stderr: 0 };
    for (let pauseMs: number = lookPausesMs.first; ; ) {
      signal.throwIfAborted();
      const { status, ...outputs } = await look(check, folder, seen);
      for (const stream of ['stdout', 'stderr'] as const) {
        seen[stream] += outputs[stream].length;
        if (outputs[stream].length > 0) onOutput(stream, outputs[stream]);
      }
      if (status !== undefined) return status;
      await sleep(pauseMs);
      pauseMs = Math.min(2 * pauseMs, lookPausesMs.last);
    }
  } finally {
    // With its session, if it still runs.
    await check(`[ -e ${folder}/status ] || kill -9 -$(cat ${folder}/pid); rm -rf ${folder}`).catch(
      () => {},
    );
  }
}

async function upload(
  check: (line: string) => Promise<string>,
  file: string,
  bytes: Buffer,
): Promise<void> {
  const text = bytes.toString('base64');
  for (let at = 0; at < text.length; at += chunkCharacters) {
    await check(`echo ${text.slice(at, at + chunkCharacters)} | base64 -d >>${file}`);
  }
}

/** What has been written beyond `seen`, and how it ended if it has. */
async function look(
  check: (line: string) => Promise<string>,
  folder: string,
  seen: { readonly stdout: number; readonly stderr: number },
): Promise<{
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly status: number | undefined;
}> {
  // The status first: once it is there, all the rest is.
  const text = await check(
    `cd ${folder}; cat status 2>/dev/null; echo @; tail -c +${seen.stdout + 1} out | base64 -w ` +
      `0; echo; tail -c +${seen.stderr + 1} err | base64 -w 0`,
  );
  const [status = '', outputs = ''] = text.split('@\n');
  const [stdout = '', stderr = ''] = outputs.split('\n');
  return {
    stdout: Buffer.from(stdout, 'base64'),
    stderr: Buffer.from(stderr, 'base64'),
    status: status === '' ? undefined : Number(status),
  };
}
