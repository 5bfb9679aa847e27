/**
 * The supervisor of a lab's machine that is User-mode Linux: a process that starts the guest, keeps
 * its console and runs commands in it for its clients (uml-exec.ts). start.ts runs it detached,
 * with all its settings in its only argument.
 *
 * It ends when the guest does, and takes the guest along when it is asked to end; what it writes to
 * standard output says how the guest ended (death.ts). A guest whose supervisor was killed powers
 * itself off, or is found by its mark (machine/detached-process.ts).
 */

import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { ConsoleServer } from '../machine/console-server.ts';
import { type UmlOptions, UmlProcess } from '../machine/uml.ts';
import { failure } from '../model/errors.ts';
import { runJob } from '../tiny/jobs.ts';
import { GuestShell } from '../tiny/shell.ts';
import { umlShutdown } from './death.ts';
import type { ExecAnswer, ExecRequest } from './uml-exec.ts';

export interface UmlSupervisorOptions {
  readonly uml: UmlOptions;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  readonly execSocket: string;
  /** How long the guest may take to boot before commands are refused. */
  readonly bootLimitMs: number;
}

async function supervise(options: UmlSupervisorOptions): Promise<void> {
  const { uml, consoleSocket, consoleLog, execSocket } = options;
  const guest = await UmlProcess.start(uml);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => void guest.stop());
  }
  const console_ = await ConsoleServer.open(consoleSocket, consoleLog, guest.console);
  const ended = guest.ended.then(({ sentence }) =>
    failure('machine-ended', { name: uml.name, how: sentence }),
  );
  const shell = GuestShell.over(uml.name, guest.control, ended);
  const server = createServer((visitor) => void serve(visitor, shell, options));
  await rm(execSocket, { force: true });
  server.listen(execSocket);
  await once(server, 'listening');
  await chmod(execSocket, 0o600);
  const { isShutdown, sentence } = await guest.ended;
  process.stdout.write(`${isShutdown ? umlShutdown : sentence}\n`);
  await console_.close();
  await rm(execSocket, { force: true });
  // Whoever waits for a command is told by the connection that closes.
  process.exit();
}

/** One command for one visitor. */
async function serve(
  visitor: Socket,
  shell: GuestShell,
  options: UmlSupervisorOptions,
): Promise<void> {
  const gone = new AbortController();
  visitor.on('error', () => {});
  visitor.once('close', () => gone.abort());
  const answer = (what: ExecAnswer) => visitor.write(`${JSON.stringify(what)}\n`);
  try {
    const [line] = (await once(createInterface({ input: visitor }), 'line', {
      signal: gone.signal,
    })) as [string];
    const { command, input } = JSON.parse(line) as ExecRequest;
    await shell.ready(options.bootLimitMs);
    const status = await runJob(shell, {
      command,
      input: Buffer.from(input, 'base64'),
      onOutput: (stream, bytes) => answer({ stream, bytes: bytes.toString('base64') }),
      signal: gone.signal,
    });
    answer({ status });
  } catch (error) {
    answer({ error: (error as Error).message });
  }
  visitor.end();
}

await supervise(JSON.parse(process.argv[2]!) as UmlSupervisorOptions);
