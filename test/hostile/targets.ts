/**
 * Whom the attacks can be made on: this switch, as its command, and the peers, started as the
 * benchmark starts them (bench/drivers), each with one polling worker, an attacked port and three
 * others.
 *
 * testpmd joins its ports two by two, so that attacker and peer make one pair and the bystanders
 * the other; the switches have all four on one bridge.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Driver } from '../../bench/drivers/driver.ts';
import { ovs } from '../../bench/drivers/ovs.ts';
import { testpmd } from '../../bench/drivers/testpmd.ts';
import { vpp } from '../../bench/drivers/vpp.ts';
import { type Exit, exitOf } from '../../bench/process.ts';
import { Command } from '../support/command.ts';
import { type Backend, portNames } from './stage.ts';

const [mainCpu, workerCpu] = [0, 1];
const tsvswitchLimitMs = 3_600_000;

export interface RunningTarget extends Backend {
  /** How the process ended; undefined while it runs. */
  exit(): Exit | undefined;
  /** Ends all of its processes, whatever state they are in. */
  stop(): Promise<void>;
}

export interface Target {
  readonly name: string;
  /** Why it cannot run here, in a few words; undefined if it can. */
  unavailable(): string | undefined;
  version(): Promise<string>;
  /** Returns once all ports are there; leaves no process behind if it throws. */
  start(): Promise<RunningTarget>;
}

interface Places {
  readonly folder: string;
  readonly paths: readonly string[];
}

/** In a folder of its own, which is gone afterwards. */
async function inFolder(start: (places: Places) => Promise<RunningTarget>): Promise<RunningTarget> {
  const folder = mkdtempSync(join(tmpdir(), 'survivors-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const paths = portNames.map((name) => join(folder, `${name}.sock`));
  try {
    const running = await start({ folder, paths });
    const stop = () => running.stop().finally(remove);
    return { ...running, stop };
  } catch (error) {
    remove();
    throw error;
  }
}

/** With these options of its command. */
export function tsvswitch(options: readonly string[] = []): Target {
  return {
    name: 'tsvswitch',
    unavailable: () => undefined,
    version: async () => {
      const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
      return `tsvswitch ${version}`;
    },
    start: () =>
      inFolder(async ({ paths }) => {
        const command = await Command.start(paths, options, { limitMs: tsvswitchLimitMs });
        let ended: Exit | undefined;
        command.exited.then(({ status, signal }) => {
          ended = { status, signal };
        });
        const stop = async () => {
          // One that hangs would not hear of anything else.
          await command.stop('SIGKILL');
        };
        return { pid: command.pid, paths, exit: () => ended, stop };
      }),
  };
}

function peer(name: string, driver: Driver): Target {
  return {
    name,
    unavailable: () => driver.unavailable(),
    version: () => driver.version(),
    start: () =>
      inFolder(async ({ folder, paths }) => {
        const options = { folder, sockets: paths, mainCpu, workerCpu, needs: ['packed'] } as const;
        const running = await driver.start(options);
        const pid = running.pid!;
        return { pid, paths, exit: () => exitOf(pid), stop: () => running.stop() };
      }),
  };
}

export const targets: readonly Target[] = [
  tsvswitch(),
  peer('testpmd', testpmd),
  peer('ovs', ovs),
  peer('vpp', vpp),
];
