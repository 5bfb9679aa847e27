/**
 * A thread of another process that hangs: it is stopped as by a debugger, alone, and may go on.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

/** Until its own input ends. */
const stopper = `
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT = 0x4206, 0x4207
thread = int(sys.argv[1])
for request in SEIZE, INTERRUPT:
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f'ptrace: errno {ctypes.get_errno()}')
WALL = 0x40000000
libc.waitpid(thread, None, WALL)
print('stopped', flush=True)
sys.stdin.read()
`;

export class StoppedThread {
  static readonly #all = new Set<StoppedThread>();
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
    StoppedThread.#all.add(this);
  }

  /** Before who was stopped is killed, who would not be gone before. */
  static async releaseAll(): Promise<void> {
    for (const stopped of StoppedThread.#all) await stopped.release();
  }

  static async stop(thread: number): Promise<StoppedThread> {
    const child = spawn('python3', ['-c', stopper, `${thread}`]);
    const stopped = new StoppedThread(child);
    const [said] = (await Promise.race([once(child.stdout, 'data'), once(child, 'close')])) as [
      unknown,
    ];
    // Not always with the end of its line.
    expect(String(said)).toMatch(/^stopped/);
    return stopped;
  }

  /** It goes on. */
  async release(): Promise<void> {
    StoppedThread.#all.delete(this);
    this.#process.stdin!.end();
    await once(this.#process, 'close');
  }
}

/** Those of a switch that move frames, in order. */
export function workerThreads(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks)
    .filter((id) => readFileSync(join(tasks, id, 'comm'), 'utf8') === 'tsvswitch-work\n')
    .map(Number);
}
