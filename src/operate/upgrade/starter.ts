/**
 * A shell that waits beside a switch to start the next one: what a switch that has confined itself
 * may not do, and what a program of its own session could not do in its place, as the next process
 * has to be in the same control group, namespaces and limits.
 *
 *     switch ── start, kill, leave ──► shell ──► the command, with the arguments of this process
 *        ◄───── started PID, ended PID STATUS, left ──┘
 *
 * These words are all that it knows. Which program it starts is settled before the switch has heard
 * of anybody: Node.js, and what is installed at the path of the command by then. The process that
 * it has started is its child's child, so that it can be ended and that its end is noticed, until
 * the shell leaves it: then it is as if the service manager had started it. The shell ends with the
 * switch.
 *
 * Sources: POSIX "Shell Command Language"; prctl(2) PR_SET_CHILD_SUBREAPER.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { placeVariable } from './place.ts';

const program = `
runs() {
  "$@" </dev/null 3>&- &
  child=$!
  trap 'kill -9 $child' TERM
  trap 'exit 0' USR1
  echo "started $child" >&3
  wait $child
  status=$?
  while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
  echo "ended $child $status" >&3
}
while read -r word; do
  case $word in
    start) runs "$@" & runner=$! ;;
    kill) kill -TERM $runner 2>/dev/null ;;
    leave) kill -USR1 $runner 2>/dev/null; wait $runner; echo left >&3 ;;
  esac
done`;

export type Report =
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'ended'; readonly pid: number; readonly status: number }
  | { readonly kind: 'left' }
  /** The shell itself. */
  | { readonly kind: 'gone' };

export class Starter {
  readonly #shell: ChildProcess;
  readonly #words: Writable;
  #line = '';
  #isGone = false;
  #onReport: (report: Report) => void = () => {};

  private constructor(shell: ChildProcess) {
    this.#shell = shell;
    this.#words = shell.stdio[0] as Writable;
    const reports = shell.stdio[3] as Readable;
    reports.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    for (const pipe of [this.#words, reports]) {
      pipe.on('error', () => {});
      // It keeps no process alive that is to end.
      (pipe as unknown as { unref(): void }).unref();
    }
    shell.once('error', () => this.#gone());
    shell.once('exit', () => this.#gone());
    shell.unref();
  }

  /** Before the process confines itself. `place` is where who is started finds this process. */
  static begin(place: string): Starter {
    const { execPath, execArgv, argv, env } = process;
    // A name for who looks at processes.
    const line = ['-c', program, 'tsvswitch-starter', execPath, ...execArgv, ...argv.slice(1)];
    const shell = spawn('sh', line, {
      stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
      env: { ...env, [placeVariable]: place },
      // What is typed in the terminal of the switch is not for it.
      detached: true,
    });
    return new Starter(shell);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Hears of all that follows. */
  start(onReport: (report: Report) => void): void {
    this.#onReport = onReport;
    this.#say('start');
  }

  /** Ends the process that was started. */
  kill(): void {
    this.#say('kill');
  }

  /** It is on its own from then on, which is reported. */
  leave(): void {
    this.#say('leave');
  }

  #say(word: string): void {
    if (!this.#isGone) this.#words.write(`${word}\n`);
  }

  #read(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop()!;
    for (const line of lines) {
      const [kind, ...numbers] = line.split(' ');
      const [pid = 0, status = 0] = numbers.map(Number);
      if (kind === 'started') this.#onReport({ kind, pid });
      else if (kind === 'ended') this.#onReport({ kind, pid, status });
      else if (kind === 'left') this.#onReport({ kind });
    }
  }

  #gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#shell.stdio[0]!.destroy();
    this.#onReport({ kind: 'gone' });
  }
}
