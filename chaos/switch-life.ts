/**
 * One life of a switch: the command as a process of its own, from its start to its end, and what it
 * holds in between. It writes its log into memory, where every warning counts as a complaint: in a
 * network of guests that keep to the rules it has nothing to complain about.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ControlClient } from '#tsvswitch/control/index.js';
import { SwitchProcess } from '#tsvswitch/tiny/switch-process.js';
import type { Settings } from './event.ts';
import { Violation } from './flow.ts';

/** What the process holds that it has to give back. */
export interface Holdings {
  /** What its fds refer to, without the numbers that tell one eventfd from another. */
  readonly files: readonly string[];
  /** Pieces of guests' memory that are mapped. */
  readonly guestMappings: number;
  readonly threads: number;
}

export interface SwitchPlaces {
  readonly sockets: readonly string[];
  readonly control: string;
}

const script = fileURLToPath(import.meta.resolve('#tsvswitch/cli/main.js'));
const startLimitMs = 60_000;

export class SwitchLife {
  readonly control: ControlClient;
  readonly #process: SwitchProcess;
  #isToEnd = false;

  private constructor(
    process: SwitchProcess,
    control: ControlClient,
    onDeath: (violation: Violation) => void,
  ) {
    this.#process = process;
    this.control = control;
    void process.ended.then((how) => {
      if (!this.#isToEnd)
        onDeath(new Violation(`the switch ended with ${how}:\n${process.tail(20)}`));
    });
  }

  static async start(
    { sockets, control }: SwitchPlaces,
    { workers, balance, idleUs }: Settings,
    onDeath: (violation: Violation) => void,
  ): Promise<SwitchLife> {
    const process = await SwitchProcess.start({
      script,
      sockets,
      extraArguments: [
        ...['--control', control, '--workers', String(workers), '--idle-us', String(idleUs)],
        ...(balance ? ['--balance'] : []),
      ],
      limitMs: startLimitMs,
    });
    try {
      // It listens to requests a moment after its sockets do.
      const deadlineMs = performance.now() + startLimitMs;
      while (process.messages('control').length === 0 && performance.now() < deadlineMs) {
        await sleep(1);
      }
      return new SwitchLife(process, await ControlClient.connect(control), onDeath);
    } catch (error) {
      await process.stop();
      throw error;
    }
  }

  /** What it has said that an operator would have to look into. */
  get complaints(): readonly string[] {
    return this.#process.log
      .filter(({ level, event }) => level === 'warn' || level === 'error' || event === 'output')
      .map(({ message }) => message);
  }

  async holdings(): Promise<Holdings> {
    // One connection to the control socket is held from now on, and may have been idle too long.
    await this.control.status();
    const folder = `/proc/${this.#process.pid}`;
    const files = readdirSync(`${folder}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/fd/${fd}`).replace(/\[\d+\]/, '')];
      } catch {
        // Closed since.
        return [];
      }
    });
    const maps = readFileSync(`${folder}/maps`, 'utf8').split('\n');
    // Sanitizers have a look at the process and its code now and then.
    const code = maps.flatMap((line) => / r-xp .* (\/.*)$/.exec(line)?.[1] ?? []);
    return {
      files: files.filter((file) => !file.startsWith('/proc/') && !code.includes(file)).sort(),
      guestMappings: maps.filter((line) => / rw-s .*\/(memfd:|dev\/hugepages)/.test(line)).length,
      threads: readdirSync(`${folder}/task`).length,
    };
  }

  /** Memory of its own, without that of guests. */
  get ownBytes(): number {
    const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
    return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#isToEnd = true;
    this.control.close();
    await this.#process.stop(signal);
  }
}
