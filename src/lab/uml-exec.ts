/**
 * Commands in a machine of a lab that is User-mode Linux: the protocol between the lab and the
 * machine's supervisor (uml-supervisor.ts).
 *
 * A connection is a command: one line of JSON with what to run, then lines with what it writes, and
 * at last its status. Whoever hangs up before that has it killed.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { type ExecOptions, type ExecResult, execLimitMs, shellLine } from '../machine/ssh.ts';
import { failure } from '../model/errors.ts';

export interface ExecRequest {
  /** For the guest's shell. */
  readonly command: string;
  /** In base64. */
  readonly input: string;
}

export type ExecAnswer =
  | { readonly stream: 'stdout' | 'stderr'; readonly bytes: string }
  | { readonly status: number }
  /** Why there is no status: a sentence. */
  | { readonly error: string };

/** Runs a command; what it writes is given away as it comes. Throws MACHINE_FAILED. */
export async function execOverConsole(
  name: string,
  path: string,
  request: ExecRequest,
  onOutput: (stream: 'stdout' | 'stderr', bytes: Buffer) => void,
  signal?: AbortSignal,
): Promise<number> {
  const socket = await connected(name, path);
  const hangUp = () => socket.destroy();
  signal?.addEventListener('abort', hangUp);
  try {
    signal?.throwIfAborted();
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of createInterface({ input: socket })) {
      const answer = JSON.parse(line) as ExecAnswer;
      if ('status' in answer) return answer.status;
      if ('error' in answer) throw failure('machine-said', { what: answer.error });
      onOutput(answer.stream, Buffer.from(answer.bytes, 'base64'));
    }
    signal?.throwIfAborted();
    throw failure('machine-ended-in-command', { name });
  } finally {
    signal?.removeEventListener('abort', hangUp);
    socket.destroy();
  }
}

/** As runOverSsh() does, with the outputs as text. Throws TIMEOUT, MACHINE_FAILED. */
export async function runOverConsole(
  name: string,
  path: string,
  command: readonly string[] | string,
  { limitMs = execLimitMs, input = '', signal }: ExecOptions = {},
): Promise<ExecResult> {
  const line = shellLine(command);
  const outputs = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const text = (stream: keyof typeof outputs) => Buffer.concat(outputs[stream]).toString();
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), limitMs);
  try {
    const status = await execOverConsole(
      name,
      path,
      { command: line, input: Buffer.from(input).toString('base64') },
      (stream, bytes) => outputs[stream].push(bytes),
      AbortSignal.any([late.signal, ...(signal === undefined ? [] : [signal])]),
    );
    return { stdout: text('stdout'), stderr: text('stderr'), status };
  } catch (error) {
    if (!late.signal.aborted) throw error;
    throw failure('command-late', {
      name,
      line,
      seconds: limitMs / 1000,
      stdout: text('stdout'),
      stderr: text('stderr'),
    });
  } finally {
    clearTimeout(timer);
  }
}

async function connected(name: string, path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (cause) {
    throw failure('machine-no-exec', { name, cause: (cause as Error).message }, { cause });
  }
  // A connection that breaks off is one that is over.
  socket.on('error', () => {});
  return socket;
}
