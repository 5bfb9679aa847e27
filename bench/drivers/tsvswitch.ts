/** This switch, as its command. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from '../process.ts';
import { allThere, type Driver, startLimitMs } from './driver.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const command = join(root, 'dist/cli/main.js');

export const tsvswitch: Driver = {
  name: 'tsvswitch',

  unavailable: () => (existsSync(command) ? undefined : 'dist/cli/main.js is not built'),

  version: async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    return `tsvswitch ${version}`;
  },

  start: async ({ folder, sockets, mainCpu, workerCpu, needs }) => {
    const cpus = needs.includes('second worker') ? [workerCpu, mainCpu] : [workerCpu];
    const startedMs = performance.now();
    const child = new Child(
      process.execPath,
      [
        command,
        ...sockets.flatMap((socket) => ['--socket', socket]),
        ...['--workers', String(cpus.length), '--cpus', cpus.join(), '--log-level', 'error'],
      ],
      { logFile: join(folder, 'tsvswitch.log') },
    );
    try {
      await child.until('sockets', () => allThere(sockets), startLimitMs);
    } catch (error) {
      await child.stop();
      throw error;
    }
    const startMs = performance.now() - startedMs;
    const attachment = { kind: 'sockets', paths: sockets } as const;
    return { pid: child.pid, attachment, startMs, stop: () => child.stop() };
  },
};
