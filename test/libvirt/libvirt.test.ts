/**
 * Domains of libvirt on the switch, with the XML of docs/libvirt.md and docs/attach.md.
 *
 * libvirtd runs for real, as a session daemon of an ordinary user in folders of its own: it finds
 * no domain of this host and leaves nothing behind. Only what boots is put in place of the disk:
 * the tiny guest, from memory and emulated, so that neither an image nor KVM is needed.
 */

import { readFileSync } from 'node:fs';
import { chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { tinyGuest, tinyGuestBoot } from '../../src/tiny/guest.ts';
import { GuestShell } from '../../src/tiny/shell.ts';
import { Command } from '../support/command.ts';
import { needs } from '../support/needs.ts';

/** Root's libvirtd would be the system's; 65534 is nobody everywhere. */
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
const searchPath = `${process.env.PATH}:/usr/sbin:/sbin`;
const bootLimitMs = 240_000;
const commandLimitMs = 120_000;

const installed = await execa('sh', ['-c', 'command -v libvirtd virsh'], {
  env: { PATH: searchPath },
  reject: false,
});
const missing =
  installed.exitCode === 0
    ? undefined
    : 'libvirtd or virsh is not installed (Debian: libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients)';

/** The fenced XML of a document that contains `element`. */
function xmlOf(document: string, element: string): string {
  const blocks = readFileSync(document, 'utf8').matchAll(/^```xml\n(.*?)^```$/gms);
  const found = Array.from(blocks, ([, xml]) => xml!).filter((xml) => xml.includes(element));
  expect(found, `XML with ${element} in ${document}`).not.toHaveLength(0);
  return found[0]!;
}

/** One element with all that is in it. */
function elementOf(xml: string, name: string): string {
  const [element] = new RegExp(`<${name}[ >].*?</${name}>`, 's').exec(xml) ?? [];
  expect(element, `<${name}>`).toBeDefined();
  return element!;
}

/** Replaces what must be there. */
function replaced(xml: string, old: string, by: string): string {
  expect(xml).toContain(old);
  return xml.replace(old, () => by);
}

describe('libvirt', needs(missing), () => {
  let folder: string;
  let daemon: ReturnType<typeof startDaemon> | undefined;
  let environment: Record<string, string>;
  let vswitch: Command;
  let vm1: GuestShell;
  let vm2: GuestShell;
  const path = (name: string) => join(folder, name);
  const sockets = () => [path('01.sock'), path('02.sock')];

  const startSwitch = () => {
    const group = user.gid === undefined ? [] : ['--socket-group', String(user.gid)];
    return Command.start(sockets(), group);
  };

  const startDaemon = () =>
    execa('libvirtd', [], {
      ...user,
      env: environment,
      extendEnv: false,
      reject: false,
      all: true,
      forceKillAfterDelay: 5000,
    });

  const virsh = (...args: string[]) =>
    execa('virsh', ['--connect', 'qemu:///session', ...args], {
      ...user,
      env: environment,
      extendEnv: false,
      timeout: commandLimitMs,
    });

  beforeAll(async () => {
    const guest = await tinyGuest();
    folder = await mkdtemp(join(tmpdir(), 'lv-'));
    await copyFile(guest.kernel.image, path('kernel'));
    await copyFile(guest.initramfs, path('initramfs'));
    await mkdir(path('config/libvirt'), { recursive: true });
    // Without a daemon for logs, which would stay behind.
    await writeFile(path('config/libvirt/qemu.conf'), 'stdio_handler = "file"\n');
    await mkdir(path('run'), { mode: 0o700 });
    if (user.uid !== undefined) {
      for (const name of ['', 'run', 'config', 'config/libvirt']) {
        await chown(path(name), user.uid, user.gid);
      }
    }
    environment = {
      PATH: searchPath,
      HOME: folder,
      XDG_RUNTIME_DIR: path('run'),
      XDG_CONFIG_HOME: path('config'),
      XDG_CACHE_HOME: path('cache'),
      XDG_DATA_HOME: path('data'),
      // virsh would start a daemon of its own that outlives us.
      LIBVIRT_AUTOSTART: '0',
    };
    daemon = startDaemon();
    await vi.waitFor(() => virsh('version'), { timeout: commandLimitMs, interval: 200 });
    vswitch = await startSwitch();
    vm1 = await boot(1, await domainXml(1));
    vm2 = await boot(2, likeAttachPage(await domainXml(2)));
    await Promise.all([vm1.ready(bootLimitMs), vm2.ready(bootLimitMs)]);
  }, 600_000);

  afterAll(async () => {
    for (const shell of [vm1, vm2]) shell?.close();
    for (const name of ['vm1', 'vm2']) await virsh('destroy', name).catch(() => {});
    daemon?.kill();
    await daemon;
    await Command.killAll();
    await rm(folder, { recursive: true, force: true });
  }, 300_000);

  /** The document's domain as machine `number`, emulated and booted from memory. */
  async function domainXml(number: 1 | 2): Promise<string> {
    const guest = await tinyGuest();
    const { commandLine } = tinyGuestBoot(guest, `vm${number}`, `192.168.0.${number}/24`);
    const boot = `<kernel>${path('kernel')}</kernel>
      <initrd>${path('initramfs')}</initrd>
      <cmdline>${commandLine}</cmdline>`;
    const control = `<serial type='file'><source path='${path(`vm${number}.log`)}'/></serial>
      <channel type='unix'>
        <source mode='bind' path='${path(`vm${number}.control`)}'/>
        <target type='virtio' name='control'/>
      </channel>`;
    const override = xmlOf('docs/libvirt.md', '<qemu:override');
    const edits: [string, string][] = [
      ["<domain type='kvm'>", "<domain type='qemu'>"],
      ['<name>vm1</name>', `<name>vm${number}</name>`],
      ["<memory unit='MiB'>1024</memory>", "<memory unit='MiB'>256</memory>"],
      ['<vcpu>2</vcpu>', '<vcpu>1</vcpu>'],
      ['</os>', `${boot}</os>`],
      ['52:54:00:00:00:01', `52:54:00:00:00:0${number}`],
      ['/run/vsw/01.sock', path(`0${number}.sock`)],
      ["<serial type='pty'/>", control],
      ['</domain>', `${override}</domain>`],
    ];
    const domain = xmlOf('docs/libvirt.md', '<domain ');
    const diskless = replaced(domain, elementOf(domain, 'disk'), '');
    return edits.reduce((xml, [old, by]) => replaced(xml, old, by), diskless);
  }

  async function boot(number: 1 | 2, xml: string): Promise<GuestShell> {
    const name = `vm${number}`;
    await writeFile(path(`${name}.xml`), xml);
    // Paused, or the guest could speak before anybody listens.
    await virsh('create', '--paused', path(`${name}.xml`));
    const shell = await GuestShell.connect(name, path(`${name}.control`), new Promise(() => {}));
    await virsh('resume', name);
    return shell;
  }

  /** A domain with the memory and the interface of docs/attach.md in place of its own. */
  function likeAttachPage(domain: string): string {
    const page = xmlOf('docs/attach.md', '<memoryBacking>');
    const edits: [string, string][] = [
      [':01', ':02'],
      ['/run/vsw/01.sock', path('02.sock')],
      // How the override, which only emulation needs, finds the card.
      ['</interface>', "<alias name='ua-net1'/></interface>"],
    ];
    const card = edits.reduce(
      (xml, [old, by]) => replaced(xml, old, by),
      elementOf(page, 'interface'),
    );
    const backed = replaced(
      domain,
      elementOf(domain, 'memoryBacking'),
      elementOf(page, 'memoryBacking'),
    );
    return replaced(backed, elementOf(backed, 'interface'), card);
  }

  test('two domains ping each other, one of docs/libvirt.md and one of docs/attach.md', async () => {
    expect(await vm1.check('ping -c 2 192.168.0.2', commandLimitMs)).toContain(
      '2 packets received',
    );
    expect(await vm2.check('ping -c 2 192.168.0.1', commandLimitMs)).toContain(
      '2 packets received',
    );
  });

  test('the domain of docs/libvirt.md finds the switch again when it comes back', async () => {
    await vswitch.stop();
    vswitch = await startSwitch();
    await vswitch.said('port 01: process');
    // Nobody answers: the domain of docs/attach.md does not reconnect.
    await vm1.run('arping -c 1 -w 1 -I eth0 192.168.0.2', commandLimitMs);
    await vswitch.said('learned 52:54:00:00:00:01');
  });
});
