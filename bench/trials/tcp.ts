/**
 * TCP as guests have it: iperf3 between two Linux kernels on the switch, each User-mode Linux.
 *
 * The kernels run on the same two CPUs as the switch: what is measured is all of it together, which
 * is what somebody has whose machines share a host. On vhost-user sockets they use their driver
 * virtio_uml, on taps their driver for those (vector, transport=tap). virtio_uml hands the control
 * queue on: from switches that do not serve it, it is kept away (feature-relay.ts), and with it
 * nothing that moves frames.
 */

import { join } from 'node:path';
import { umlControlLine } from '#tsvswitch/machine/uml.js';
import { controlQueueFeatures, FeatureRelay } from '#tsvswitch/testing/feature-relay.js';
import { prepareEngine } from '#tsvswitch/tiny/engine.js';
import { tinyGuestBoot } from '#tsvswitch/tiny/guest.js';
import { UmlMachine } from '#tsvswitch/tiny/uml-machine.js';
import type { Attachment } from '../drivers/driver.ts';
import type { Trial } from './trial.ts';

const memoryMiB = 256;
const bootLimitMs = 60_000;
const commandLimitMs = 60_000;
const secondsMin = 2;
interface Card {
  readonly name: string;
  readonly sockets: readonly string[];
  readonly extraArguments: readonly string[];
  readonly enter: readonly string[];
}

function cardOf(
  attachment: Attachment,
  index: number,
  relays: FeatureRelay[],
  folder: string,
): Card {
  if (attachment.kind === 'taps') {
    const tap = `vec0:transport=tap,ifname=${attachment.names[index]},depth=128,gro=1`;
    return { name: 'vec0', sockets: [], extraArguments: [tap], enter: attachment.enter };
  }
  if (attachment.kind !== 'sockets') throw new Error('no machine can be put there');
  const path = join(folder, `relay${index}`);
  const backend = attachment.paths[index]!;
  relays.push(FeatureRelay.open({ path, backend, withheld: controlQueueFeatures }));
  return { name: 'eth0', sockets: [path], extraArguments: [], enter: [] };
}

export const tcpTrial: Trial = {
  name: 'TCP between two Linux kernels',
  ports: 2,
  needs: ['machines'],
  measures: [
    {
      name: 'iperf3, one stream, User-mode Linux',
      unit: 'Gbit/s',
      decimals: 2,
      better: 'higher',
      charts: [{ id: 'tcp', category: 'iperf3, one stream' }],
    },
  ],
  run: async ({ subject, folder, seconds }) => {
    const engine = await prepareEngine('uml', 2);
    if (engine.type !== 'uml') throw new Error('asked for User-mode Linux');
    const relays: FeatureRelay[] = [];
    const machines: UmlMachine[] = [];
    const boot = async (index: number): Promise<UmlMachine> => {
      const name = `vm${index + 1}`;
      const { name: card, ...where } = cardOf(subject.attachment, index, relays, folder);
      const { commandLine, ...kernel } = tinyGuestBoot(engine.guest, name, '');
      const machine = await UmlMachine.start({
        name,
        memoryMiB,
        memoryFolder: engine.memoryFolder,
        folder,
        boot: { ...kernel, commandLine: `${commandLine} guest.control=${umlControlLine}` },
        ...where,
      });
      machines.push(machine);
      await machine.shell.ready(bootLimitMs);
      const mac = `52:54:00:00:00:0${index + 1}`;
      const address = `ip addr add 192.168.0.${index + 1}/24 dev ${card}`;
      await machine.shell.check(
        `ip link set ${card} address ${mac} && ip link set ${card} up && ${address}`,
        commandLimitMs,
      );
      return machine;
    };
    try {
      const [server, client] = (await Promise.all([boot(0), boot(1)])) as [UmlMachine, UmlMachine];
      await server.shell.check('iperf3 --server --daemon', commandLimitMs);
      await client.shell.check('ping -c 1 192.168.0.1', commandLimitMs);
      const time = Math.max(seconds, secondsMin);
      const report = JSON.parse(
        await client.shell.check(
          `iperf3 --client 192.168.0.1 --time ${time} --omit 1 --json`,
          commandLimitMs,
        ),
      );
      return {
        values: [report.end.sum_received.bits_per_second / 1e9],
        details: report.end,
      };
    } finally {
      await Promise.all(machines.map((machine) => machine.stop()));
      for (const relay of relays) relay.close();
    }
  },
};
