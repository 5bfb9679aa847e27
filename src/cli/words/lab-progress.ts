/**
 * Shows a lab changing: in a terminal one live line a machine, otherwise one plain line for every
 * step.
 *
 * showChange() runs the operation, hands it a signal that Ctrl-C aborts, and shows its events. A
 * line is done when its machine reports the last stage of the operation, or with the operation
 * itself. What went wrong as a whole is the caller's to say: here a line only shows that its
 * machine failed.
 *
 * A second Ctrl-C ends the process at once; `up` and `down` cope with whatever that leaves.
 */

import { constants } from 'node:os';
import type { ListrTask } from 'listr2';
import type { ChangeOptions } from '../../lab/lab.ts';
import type { LabEvent, LabStage } from '../../lab/report.ts';
import { failure } from '../../model/errors.ts';

export interface Change {
  /** The machines to show, in this order. */
  readonly machines: readonly string[];
  /** What a machine does last in this change. */
  readonly lastStage: LabStage;
  readonly operation: (options: Required<ChangeOptions>) => Promise<void>;
}

/** What shows the events of one change. */
interface Board {
  show(event: LabEvent): void;
  /** Returns when everything is on the screen; `succeeded` is what becomes of lines still open. */
  close(succeeded: boolean): Promise<void>;
}

const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const barCells = 20;
/**
 * How the lines are called that belong to no machine, and what they say of those nothing happens
 * to.
 */
const labName = 'lab';
const nothingToDo = 'nothing to do';

/** Ends the process with 128 and the signal's number if it was interrupted, as a shell would. */
export async function showChange({ machines, lastStage, operation }: Change): Promise<void> {
  const interruption = new AbortController();
  let endSignal: (typeof endSignals)[number] | undefined;
  const interrupt = (name: (typeof endSignals)[number]) => {
    endSignal = name;
    interruption.abort();
  };
  for (const name of endSignals) process.once(name, interrupt);
  const board = process.stdout.isTTY
    ? await liveBoard(machines, lastStage)
    : plainBoard(machines, lastStage);
  let succeeded = false;
  try {
    await operation({ progress: (event) => board.show(event), signal: interruption.signal });
    succeeded = true;
  } catch (error) {
    if (endSignal === undefined) throw error;
    process.exitCode = 128 + constants.signals[endSignal];
  } finally {
    await board.close(succeeded);
    for (const name of endSignals) process.off(name, interrupt);
  }
  if (!succeeded) {
    process.stderr.write(
      `tsvswitch: ended by ${endSignal}; \`tsvswitch lab up\` goes on from here, \`tsvswitch lab ` +
        `down\` stops what runs\n`,
    );
  }
}

function plainBoard(machines: readonly string[], lastStage: LabStage): Board {
  const beganMs = performance.now();
  const said = new Map<string, string>();
  const say = (name: string, text: string) => {
    if (said.get(name) === text) return;
    said.set(name, text);
    const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
    process.stdout.write(`${seconds.padStart(6)} s  ${name}: ${text}\n`);
  };
  return {
    show(event) {
      // The end of a step shows in the beginning of the next.
      if (event.state === 'done' && event.stage !== lastStage) return;
      say(event.machine ?? labName, describe(event));
    },
    async close(succeeded) {
      if (!succeeded) return;
      for (const name of machines) if (!said.has(name)) say(name, nothingToDo);
    },
  };
}

async function liveBoard(machines: readonly string[], lastStage: LabStage): Promise<Board> {
  const { Listr, PRESET_TIMER } = await import('listr2');
  const lines = [labName, ...machines].map((name) => new Line(name));
  const listr = new Listr(
    lines.map((line) => line.task),
    {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      rendererOptions: { showErrorMessage: false, timer: PRESET_TIMER },
    },
  );
  const shown = listr.run();
  return {
    show(event) {
      const line = lines.find(({ name }) => name === event.machine);
      const text = event.fraction === undefined ? describe(event) : withBar(event, event.fraction);
      // A machine nobody expected, such as one that the lab file no longer has, shares the first
      // line.
      if (line === undefined) return lines[0]!.set(`${event.machine ?? ''} ${text}`.trim());
      line.set(text);
      if (event.state === 'failed') line.end(false);
      if (event.state === 'done' && event.stage === lastStage) line.end(true);
    },
    async close(succeeded) {
      for (const line of lines) line.end(succeeded);
      await shown;
    },
  };
}

/** One line of the live display, and the task that keeps it open. */
class Line {
  readonly name: string;
  readonly task: Pick<ListrTask, 'title' | 'task'>;
  #settle!: { resolve: () => void; reject: (error: Error) => void };
  #handle: { title: string } | undefined;

  constructor(name: string) {
    this.name = name;
    const ended = new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // It may fail before the display asks for it.
    ended.catch(() => {});
    this.task = {
      title: name,
      task: (_, handle) => {
        this.#handle = handle;
        return ended;
      },
    };
  }

  set(text: string): void {
    if (this.#handle !== undefined) this.#handle.title = `${this.name}: ${text}`;
  }

  /** What is said first holds. */
  end(succeeded: boolean): void {
    if (succeeded && this.#handle?.title === this.name) this.set(nothingToDo);
    if (succeeded) this.#settle.resolve();
    else this.#settle.reject(failure('step-failed', { name: this.name }));
  }
}

/** What went wrong is told at the end, in full. */
function describe({ stage, state, detail }: LabEvent): string {
  if (state === 'failed') return `${stage} failed`;
  return detail === undefined ? stage : `${stage}, ${detail}`;
}

function withBar(event: LabEvent, fraction: number): string {
  const full = Math.round(fraction * barCells);
  const bar = `${'█'.repeat(full)}${'░'.repeat(barCells - full)}`;
  return `${describe(event)} ${bar} ${Math.floor(fraction * 100)} %`;
}
