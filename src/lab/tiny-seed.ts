/**
 * Makes a tiny guest a machine of a lab: two cards, told by their MACs, a user and an ssh server.
 *
 * It comes as a second archive behind the initramfs that all tiny guests share; the kernel unpacks
 * one over the other. The init script of the guest (tiny/guest.ts) finds /lab/init and lets it take
 * over, so a machine of a lab has no control port. The user is root under another name, and sudo is
 * there, so that what is written for a Debian machine runs here too. Host keys are made at the
 * first connection.
 *
 * User-mode Linux has one card, on the switch, and no ssh server: its init goes on to the control
 * line.
 *
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, dropbear(8); QEMU's
 * user-mode network in qemu-system(1): the guest is 10.0.2.15, the host 10.0.2.2, its resolver
 * 10.0.2.3.
 */

import { copyFile, open } from 'node:fs/promises';
import type { DirectBoot } from '../machine/qemu.ts';
import { shellWord } from '../machine/ssh.ts';
import { umlControlLine } from '../machine/uml.ts';
import { type CpioEntry, cpioArchive } from '../tiny/cpio.ts';
import { programEntries, type TinyGuest, tinyKernelOptions } from '../tiny/guest.ts';
import type { MachinePlan } from './file/plan.ts';

/**
 * Writes the initrd of a machine to `path` and returns how QEMU boots it; `authorizedKeys` are let
 * in besides those of the machine's plan.
 */
export async function tinyLabBoot(
  guest: TinyGuest,
  machine: MachinePlan,
  authorizedKeys: readonly string[],
  path: string,
): Promise<DirectBoot> {
  return labBoot(guest, machine.name, await seedEntries(machine, authorizedKeys), path);
}

/** The same of a machine that is User-mode Linux. */
export async function umlLabBoot(
  guest: TinyGuest,
  machine: MachinePlan,
  path: string,
): Promise<DirectBoot> {
  const { initrd, ...boot } = await labBoot(guest, machine.name, umlSeedEntries(machine), path);
  return { ...boot, initrd, commandLine: `${boot.commandLine} guest.control=${umlControlLine}` };
}

async function labBoot(
  guest: TinyGuest,
  hostname: string,
  seed: readonly CpioEntry[],
  path: string,
): Promise<DirectBoot> {
  await copyFile(guest.initramfs, path);
  const file = await open(path, 'a');
  try {
    await file.write(cpioArchive(seed));
  } finally {
    await file.close();
  }
  return {
    kernel: guest.kernel.image,
    initrd: path,
    commandLine: `${tinyKernelOptions} guest.hostname=${hostname}`,
  };
}

function script(path: string, text: string): CpioEntry {
  return { type: 'file', path, content: Buffer.from(text), executable: true };
}

const sudo = script('bin/sudo', '#!/bin/sh\nexec "$@"\n');

function umlSeedEntries(machine: MachinePlan): CpioEntry[] {
  return [
    { type: 'folder', path: homeOf(machine.user) },
    sudo,
    script('lab/init', umlInitScript(machine)),
  ];
}

async function seedEntries(
  machine: MachinePlan,
  authorizedKeys: readonly string[],
): Promise<CpioEntry[]> {
  const keys = [...authorizedKeys, ...machine.sshKeys].map((key) => `${key}\n`).join('');
  return [
    ...(await programEntries('dropbear', 'dropbear-bin')),
    { type: 'folder', path: 'etc/dropbear' },
    {
      type: 'file',
      path: `${homeOf(machine.user)}/.ssh/authorized_keys`,
      content: Buffer.from(keys),
      executable: false,
    },
    sudo,
    script('lab/init', initScript(machine)),
  ];
}

/** Sourced by the guest's own init, after its modules are loaded and its console is open. */
function initScript(machine: MachinePlan): string {
  const { mac, managementMac, addresses } = machine;
  return `
# Names the card whose MAC is $1 as $2.
card() {
  for path in /sys/class/net/*; do
    [ "$(cat "$path/address")" = "$1" ] && ip link set "\${path##*/}" name "$2"
  done
  ip link set "$2" up
}
card ${managementMac} net0
ip addr add 10.0.2.15/24 dev net0
ip route add default via 10.0.2.2
card ${mac} net1
${addresses.map((address) => `ip addr add ${address} dev net1`).join('\n')}

mkdir -p /etc /dev/pts
mount -t devpts devpts /dev/pts
echo nameserver 10.0.2.3 >/etc/resolv.conf
${usersScript(machine)}
dropbear -R

# The first process may not end, and buries the orphans while it sleeps.
while :; do sleep 3600; done
`;
}

/** Sourced in the same place, by User-mode Linux. */
function umlInitScript(machine: MachinePlan): string {
  const { mac, addresses, user } = machine;
  return `
ip link set eth0 down
ip link set eth0 address ${mac} name net1
ip link set net1 up
${addresses.map((address) => `ip addr add ${address} dev net1`).join('\n')}

mkdir -p /etc /dev/pts
mount -t devpts devpts /dev/pts
${usersScript(machine)}
export USER=${user} HOME=/${homeOf(user)}
`;
}

function usersScript({ user, password }: MachinePlan): string {
  const users = Array.from(new Set(['root', user]));
  const lines = users.map((name) => {
    const line = `${name}:$hash:0:0::/${homeOf(name)}:/bin/sh`;
    return `echo "${line}" >>/etc/passwd`;
  });
  return `hash=$(mkpasswd -m sha512 ${shellWord(password)})
${lines.join('\n')}`;
}

function homeOf(user: string): string {
  return user === 'root' ? 'root' : `home/${user}`;
}
