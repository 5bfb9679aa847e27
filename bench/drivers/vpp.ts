/**
 * FD.io VPP: an L2 bridge domain of vhost-user interfaces, one worker, only the vhost plugin.
 *
 * Not in Debian. Uses `vpp` and `vppctl` from the folder VPP_BIN or from PATH, and the plugins of
 * the folder VPP_PLUGINS where VPP does not find them itself.
 */

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../process.ts';
import {
  type Driver,
  findProgram,
  launch,
  listening,
  missingHugePages,
  type StartOptions,
  startLimitMs,
} from './driver.ts';

const bridgeDomain = '1';
const commandLimitMs = 10_000;

function findVpp(name: string): string | undefined {
  return findProgram(name, process.env.VPP_BIN === undefined ? [] : [process.env.VPP_BIN]);
}

function configuration(cliSocket: string, { folder, mainCpu, workerCpu }: StartOptions): string {
  const plugins = process.env.VPP_PLUGINS;
  return [
    `unix { nodaemon cli-listen ${cliSocket} runtime-dir ${folder} log ` +
      `${join(folder, 'vpp.log')} }`,
    `api-segment { prefix bench${process.pid} }`,
    `statseg { socket-name ${join(folder, 'stats.sock')} size 32M }`,
    `cpu { main-core ${mainCpu} corelist-workers ${workerCpu} }`,
    'buffers { buffers-per-numa 16384 page-size default-hugepage }',
    'memory { main-heap-size 256M }',
    `plugins { ${plugins === undefined ? '' : `path ${plugins} `}plugin default { disable } ` +
      'plugin vhost_plugin.so { enable } }',
    '',
  ].join('\n');
}

/** As installed, interfaces offer neither checksums nor segmentation; `gso` turns both on. */
export const vpp = vppDriver('VPP', []);
export const vppWithGso = vppDriver('VPP gso', ['gso']);

function vppDriver(name: string, interfaceOptions: readonly string[]): Driver {
  return {
    name,
    lacks: {
      'second worker': 'measured with one worker only',
      'no checks': 'not built here',
      ...(interfaceOptions.includes('gso') ? {} : { segmentation: 'off as installed' }),
    },

    unavailable: () =>
      findVpp('vpp') === undefined || findVpp('vppctl') === undefined
        ? 'vpp not found'
        : missingHugePages(),

    version: async () =>
      (await run(findVpp('vpp')!, ['--version'], { limitMs: commandLimitMs })).trim(),

    start: (options) => {
      const { folder, sockets, needs } = options;
      const cliSocket = join(folder, 'cli.sock');
      const configFile = join(folder, 'startup.conf');
      const ctl = (...words: string[]): Promise<string> =>
        run(findVpp('vppctl')!, ['-s', cliSocket, ...words], { limitMs: commandLimitMs });

      const words = [...interfaceOptions, ...(needs.includes('packed') ? ['packed'] : [])];
      return launch(async (children) => {
        writeFileSync(configFile, configuration(cliSocket, options));
        const child = children.start(findVpp('vpp')!, ['-c', configFile], {
          logFile: join(folder, 'vpp.out'),
        });
        await child.until('command socket', () => existsSync(cliSocket), startLimitMs);
        for (const socket of sockets) {
          const created = await ctl('create', 'vhost-user', 'socket', socket, 'server', ...words);
          const made = /VirtualEthernet\S+/.exec(created)?.[0];
          if (made === undefined)
            throw new Error(`vpp made no interface for ${socket}: ${created}`);
          await ctl('set', 'interface', 'l2', 'bridge', made, bridgeDomain);
          await ctl('set', 'interface', 'state', made, 'up');
        }
        return listening(child, sockets);
      });
    },
  };
}
