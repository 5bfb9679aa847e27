/** This switch, as its command. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Driver, launch, listening } from './driver.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const command = join(root, 'dist/cli/main.js');
const uncheckedAddon = join(root, 'build/bench-native/Release/tsvswitch.node');

export const tsvswitch: Driver = {
  name: 'tsvswitch',

  unavailable: () => (existsSync(command) ? undefined : 'dist/cli/main.js is not built'),

  version: async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    return `tsvswitch ${version}`;
  },

  start: ({ folder, sockets, mainCpu, workerCpu, needs }) => {
    const cpus = needs.includes('second worker') ? [workerCpu, mainCpu] : [workerCpu];
    const env = needs.includes('no checks') ? { TSVSWITCH_ADDON: uncheckedAddon } : {};
    return launch(async (children) => {
      const child = children.start(
        process.execPath,
        [
          command,
          ...sockets.flatMap((socket) => ['--socket', socket]),
          ...['--workers', String(cpus.length), '--cpus', cpus.join(), '--log-level', 'error'],
        ],
        { logFile: join(folder, 'tsvswitch.log'), env },
      );
      return listening(child, sockets);
    });
  },
};
