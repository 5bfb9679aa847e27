/**
 * A DHCP server under test, with a real client: a virtual machine that runs BusyBox's udhcpc.
 *
 * The server is a port of this process (dhcp-server.ts). The machine boots without an address, asks
 * for one, and afterwards answers to it.
 */

import { arp } from 'tsvswitch/testing';
import { test } from 'tsvswitch/testing/vitest';
import { expect } from 'vitest';
import { serveDhcp } from './dhcp-server.ts';

const client = { mac: '52:54:00:00:00:0c', ip: '192.168.7.10' };
const server = { mac: '52:54:00:00:00:01', ip: '192.168.7.1' };
/** What udhcpc calls when it was given an address. */
const script = '#!/bin/sh\n[ "$1" = bound ] && ip addr add "$ip/$mask" dev "$interface"\n';

test('a machine is given its address', { timeout: 300_000 }, async ({ vswitch, guest, lab }) => {
  const leases = new Map([[client.mac, client.ip]]);
  const port = vswitch.addPort({ process: 'dhcp' });
  const serving = serveDhcp(port, { ...server, leases });

  const machines = await lab({ client: { mac: client.mac, addresses: [] } });
  const machine = machines.machine('client');
  await machine.check('cat >/tmp/bound && chmod +x /tmp/bound', { input: script });
  await machine.check('udhcpc -i net1 -s /tmp/bound -n -q');
  expect(await machine.check('ip -4 addr show dev net1')).toContain(`inet ${client.ip}/24 `);

  const neighbour = await guest();
  await neighbour.send(arp({ senderMac: server.mac, senderIp: server.ip, targetIp: client.ip }));
  await neighbour.expect({ arp: { operation: 'reply', senderMac: client.mac } });

  vswitch.removePort(port);
  await serving;
});
