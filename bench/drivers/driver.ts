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
import { type Child, Children } from '../process.ts';

/** What a trial asks of a switch beyond forwarding between its ports. */
export type Need =
  /** A process whose CPU time and memory can be read. */
  | 'process'
  /** Ports that other vhost-user frontends can connect to. */
  | 'sockets'
  /** Ports that the card of a virtual machine can be on, sockets or taps. */
  | 'machines'
  /** Packed rings. */
  | 'packed'
  /** Frames of 9000 B. */
  | 'jumbo'
  /** TCP frames of 64 KiB from guest to guest, uncut. */
  | 'segmentation'
  /** A second worker, on the client's CPU. */
  | 'second worker'
  /** A build that trusts its guests. */
  | 'no checks';

export interface StartOptions {
  /** Where the switch finds its sockets' places and may write; empty, and removed afterwards. */
  readonly folder: string;
  /** One per port, all of them in `folder`. */
  readonly sockets: readonly string[];
  readonly mainCpu: number;
  readonly workerCpu: number;
  /** None that the driver lacks. */
  readonly needs: readonly Need[];
}

/** Where the client's ports go. */
export type Attachment =
  | { readonly kind: 'sockets'; readonly paths: readonly string[] }
  | {
      readonly kind: 'taps';
      readonly names: readonly string[];
      /** The start of a command line that runs a program where these are. */
      readonly enter: readonly [string, ...string[]];
    }
  /** A thread of the client itself, on this CPU, in the place of a switch. */
  | { readonly kind: 'reflector'; readonly ports: number; readonly cpu: number };

export interface RunningSwitch {
  /** The process that moves the frames; undefined where the kernel does. */
  readonly pid: number | undefined;
  readonly attachment: Attachment;
  /** From the first command to the moment that the last port was there. */
  readonly startMs: number;
  /** Ends all processes of the switch; bounded in time. */
  stop(): Promise<void>;
}

export interface Driver {
  readonly name: string;
  readonly portsMax?: number;
  /** What it has not, each with a few words on why. */
  readonly lacks?: Partial<Record<Need, string>>;
  /** Why the switch cannot run here, in a few words; undefined if it can. */
  unavailable(): string | undefined;
  version(): Promise<string>;
  /** Returns once all ports are there; leaves no process behind if it throws. */
  start(options: StartOptions): Promise<RunningSwitch>;
}

/** Times what starts a switch, and stops the processes that were started if it fails. */
export async function launch(
  begin: (children: Children) => Promise<Pick<RunningSwitch, 'pid' | 'attachment'>>,
): Promise<RunningSwitch> {
  const children = new Children();
  const stop = (): Promise<void> => children.stop();
  const startedMs = performance.now();
  try {
    const begun = await begin(children);
    return { ...begun, startMs: performance.now() - startedMs, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Waits for the sockets of a switch that makes them all in the process `child`. */
export async function listening(
  child: Child,
  sockets: readonly string[],
): Promise<Pick<RunningSwitch, 'pid' | 'attachment'>> {
  const allThere = () => sockets.every((socket) => existsSync(socket));
  await child.until('sockets', allThere, startLimitMs);
  return { pid: child.pid, attachment: { kind: 'sockets', paths: sockets } };
}

/** Why a driver has no part in something; undefined if it has. */
export function misfit(
  { portsMax = Number.POSITIVE_INFINITY, lacks = {} }: Driver,
  { ports, needs = [] }: { readonly ports: number; readonly needs?: readonly Need[] },
): string | undefined {
  if (ports > portsMax) return `at most ${portsMax} ports`;
  return needs.map((need) => lacks[need]).find((reason) => reason !== undefined);
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
