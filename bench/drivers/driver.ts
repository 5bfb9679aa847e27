/**
 * What the benchmark asks of a switch: one file of this folder per switch.
 *
 * A driver starts its switch as the makers would for this purpose: one polling worker on
 * `workerCpu`, everything else on the other CPU, one bridge or its nearest equivalent between the
 * sockets, in server mode.
 */

import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { freeHugePageBytes } from '../proc.ts';

export interface StartOptions {
  /** Where the switch finds its sockets' places and may write; empty, and removed afterwards. */
  readonly folder: string;
  /** All of them in `folder`. */
  readonly sockets: readonly string[];
  readonly mainCpu: number;
  readonly workerCpu: number;
}

export interface RunningSwitch {
  /** The process that moves the frames. */
  readonly pid: number;
  /** From the first command to the moment that the last socket was there. */
  readonly startMs: number;
  /** Ends all processes of the switch; bounded in time. */
  stop(): Promise<void>;
}

export interface Driver {
  readonly name: string;
  /** Why the switch cannot run here, in a few words; undefined if it can. */
  unavailable(): string | undefined;
  version(): Promise<string>;
  /** Returns once all sockets are there; leaves no process behind if it throws. */
  start(options: StartOptions): Promise<RunningSwitch>;
}

/** The most that a peer may take for its buffers; its guests bring memory of their own. */
export const peerHugePageBytes = 512 * 2 ** 20;

export const startLimitMs = 20_000;

/** The path of a program in PATH or one of some further folders. */
export function findProgram(name: string, folders: readonly string[] = []): string | undefined {
  const path = (process.env.PATH ?? '').split(delimiter);
  return [...folders, ...path]
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Why a peer that needs huge pages cannot have them; undefined if it can. */
export function missingHugePages(): string | undefined {
  const freeBytes = freeHugePageBytes();
  if (freeBytes >= peerHugePageBytes) return undefined;
  const [free, needed] = [freeBytes, peerHugePageBytes].map((bytes) => bytes / 2 ** 20);
  return `${needed} MiB of free 2 MiB huge pages needed, ${free} MiB there`;
}

export function allThere(sockets: readonly string[]): boolean {
  return sockets.every((socket) => existsSync(socket));
}
