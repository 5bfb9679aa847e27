/**
 * The bridge of the Linux kernel with tap devices, in a network namespace of its own: the yardstick
 * for function.
 *
 * It takes no vhost-user port, and a frame passes it within the system call that writes the frame,
 * on the client's CPU. There is no process, no worker and no socket of its own.
 */

import { accessSync, constants, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { run } from '../process.ts';
import { type Driver, findProgram, launch, startLimitMs } from './driver.ts';

const tapDevice = '/dev/net/tun';
const bridge = 'br0';
/** Snooping is the bridge's only reason to send frames of its own. */
const quiet = ['mcast_snooping', '0'];
const commandLimitMs = 10_000;
const programs = ['ip', 'unshare', 'nsenter', 'sysctl'];
const systemFolders = ['/usr/sbin', '/sbin'];

function networkNamespace(pid: number | 'self'): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

export const linuxBridge: Driver = {
  name: 'Linux bridge',
  lacks: {
    process: 'the kernel does it',
    sockets: 'tap devices only',
    packed: 'tap devices only',
    'second worker': 'tap devices only',
    'no checks': 'tap devices only',
  },

  unavailable: () => {
    const missing = programs.find((name) => findProgram(name, systemFolders) === undefined);
    if (missing !== undefined) return `${missing} not found`;
    if (process.getuid?.() !== 0) return 'needs root for a network namespace';
    try {
      accessSync(tapDevice, constants.R_OK | constants.W_OK);
    } catch {
      return `${tapDevice} is missing`;
    }
    return undefined;
  },

  version: async () => `Linux ${release()}`,

  start: ({ folder, sockets, needs }) =>
    launch(async (children) => {
      // The namespace lives as long as a process is in it, and its devices with it.
      const holder = children.start('unshare', ['--net', 'sleep', 'infinity'], {
        logFile: join(folder, 'namespace.log'),
      });
      const enter = ['nsenter', `--net=/proc/${holder.pid}/ns/net`] as const;
      const inside = (...command: string[]): Promise<string> =>
        run(enter[0], [...enter.slice(1), ...command], { limitMs: commandLimitMs });
      const isApart = () => networkNamespace(holder.pid) !== networkNamespace('self');
      await holder.until('network namespace', isApart, startLimitMs);
      // IPv6 would send frames of its own into the measurement.
      await inside('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
      await inside('ip', 'link', 'add', bridge, 'type', 'bridge', ...quiet);
      await inside('ip', 'link', 'set', bridge, 'up');
      const names = sockets.map((_, i) => `tap${i}`);
      for (const name of names) {
        await inside('ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr');
        if (needs.includes('jumbo')) await inside('ip', 'link', 'set', name, 'mtu', '9000');
        await inside('ip', 'link', 'set', name, 'master', bridge, 'up');
      }
      return { pid: undefined, attachment: { kind: 'taps', names, enter } };
    }),
};
