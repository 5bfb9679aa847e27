/**
 * A real systemd as the first process of namespaces of its own, with the units of packaging/ and
 * none of this machine's: what it mounts, starts and writes is gone with it.
 *
 * /etc, /run, /var/lib, /var/log and /tmp are its own. The command is in /usr/local/bin and runs
 * this clone, seen as /opt/tsvswitch, since a service sees nothing below /home. npm installs
 * nothing, and says that it would in /opt.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { execa, execaSync } from 'execa';

const packaging = resolve('packaging/systemd');
/** The same as it is seen inside, wherever this clone is. */
const packagingInside = '/opt/tsvswitch/packaging/systemd';
const systemd = '/lib/systemd/systemd';
const namespaces = [
  ...['--mount', '--pid', '--net', '--cgroup', '--uts', '--ipc', '--fork', '--kill-child'],
];

/** What a service wants by default, without all that Debian puts behind it. */
const targets = ['sysinit', 'basic', 'shutdown', 'sockets', 'local-fs', 'multi-user'];

const journal = `
[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket
[Service]
Type=notify
Sockets=systemd-journald.socket
ExecStart=/lib/systemd/systemd-journald
StandardOutput=null
`;

/** $1: a folder with units and passwd, $2: Node, $3: this clone. */
const enter = `
  set -e
  mount --make-rprivate /
  ip link set lo up
  mount -t proc proc /proc
  mkdir -p "$1/etc" "$1/opt/tsvswitch"
  for file in group passwd nsswitch.conf ld.so.cache; do
    [ ! -e /etc/$file ] || cp /etc/$file "$1/etc"
  done
  mkdir -p "$1/etc/systemd" "$1/etc/default"
  printf '[Journal]\\nReadKMsg=no\\nAudit=no\\n' > "$1/etc/systemd/journald.conf"
  mount --bind "$3" "$1/opt/tsvswitch"
  mount --rbind "$1/opt" /opt
  mount -t tmpfs none /usr/local/bin
  touch /usr/local/bin/node
  mount --bind "$2" /usr/local/bin/node
  printf '#!/bin/sh\\nexec node /opt/tsvswitch/dist/cli/main.js "$@"\\n' > /usr/local/bin/tsvswitch
  printf '#!/bin/sh\n[ "$*" != "root -g" ] || echo /opt\n' > /usr/local/bin/npm
  chmod 755 /usr/local/bin/tsvswitch /usr/local/bin/npm
  for folder in /run /var/lib /var/log; do mount -t tmpfs none $folder; done
  mkdir -p /run/systemd/system
  cp "$1"/units/* /run/systemd/system
  mount --bind "$1/etc" /etc
  mount -t tmpfs none /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t tmpfs none /tmp
  exec env -i PATH=/usr/local/bin:/usr/bin:/bin container=test \
    SYSTEMD_UNIT_PATH=/run/systemd/system:/etc/systemd/system \
    ${systemd} --system --unit=basic.target --show-status=0 --log-target=console`;

/** Why there can be none here, or undefined. */
export function systemdIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(systemd)) return 'needs systemd';
  const tried = execaSync(
    'unshare',
    [...namespaces, 'sh', '-c', 'mount --make-rprivate / && mount -t tmpfs none /sys/fs/cgroup'],
    { reject: false },
  );
  return tried.exitCode === 0 ? undefined : 'needs the right to mount file systems';
}

export class Systemd {
  readonly #process: ChildProcess;
  /** Of the first process of the namespaces, as this one sees it. */
  #pid = 0;
  #output = '';

  private constructor(process: ChildProcess) {
    this.#process = process;
    for (const stream of [process.stdout!, process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
    }
  }

  /**
   * In an empty folder, with our units and user unless these are to be installed there. Its first
   * unit is basic.target.
   */
  static async boot(folder: string, { isInstalled = true } = {}): Promise<Systemd> {
    const units = join(folder, 'units');
    mkdirSync(units);
    const add = (name: string, text: string) => writeFileSync(join(units, name), text);
    for (const target of targets) add(`${target}.target`, '[Unit]\nDefaultDependencies=no\n');
    add('systemd-journald.service', journal);
    execaSync('cp', ['/lib/systemd/system/systemd-journald.socket', units]);
    for (const file of isInstalled ? readdirSync(packaging) : []) {
      if (/\.(service|socket)$/.test(file)) execaSync('cp', [join(packaging, file), units]);
    }
    const args = ['sh', '-c', enter, 'sh', folder, process.execPath, resolve('.')];
    const booted = new Systemd(spawn('unshare', [...namespaces, ...args]));
    try {
      await booted.#isUp();
      const user = join(packagingInside, 'sysusers.conf');
      if (isInstalled) await booted.run(['systemd-sysusers', user]);
    } catch (error) {
      await booted.stop();
      throw error;
    }
    return booted;
  }

  async #isUp(): Promise<void> {
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`systemd ended: ${this.#output}`);
      const children = await execa('pgrep', ['-P', `${this.#process.pid}`], { reject: false });
      this.#pid = Number(children.stdout);
      if (this.#pid > 0) {
        const state = await this.run(['systemctl', 'is-active', 'basic.target'], false);
        if (state === 'active') break;
      }
      await new Promise((next) => setTimeout(next, 100));
    }
    await this.run(['systemctl', 'start', 'systemd-journald.service']);
  }

  /** Runs a program beside it; returns what it prints. Throws if it fails, with `reject`. */
  async run(line: readonly string[], reject = true): Promise<string> {
    const { stdout } = await execa(
      'nsenter',
      ['--target', `${this.#pid}`, '--mount', '--pid', '--net', '--', ...line],
      { reject, timeout: 60_000 },
    );
    return stdout;
  }

  systemctl(...args: readonly string[]): Promise<string> {
    return this.run(['systemctl', ...args]);
  }

  /** One property of a unit. */
  show(unit: string, property: string): Promise<string> {
    return this.systemctl('show', '--value', '--property', property, unit);
  }

  /** Files of a drop-in, and what they change is in force. */
  async dropIn(unit: string, text: string): Promise<void> {
    const folder = this.path(`/run/systemd/system/${unit}.d`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'test.conf'), text);
    await this.systemctl('daemon-reload');
  }

  /** Where this process finds a file that is `path` there. */
  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  /** The number that this process has for the first one of a service. */
  async mainPid(unit: string): Promise<number> {
    const there = Number(await this.show(unit, 'MainPID'));
    const namespace = readlinkSync(`/proc/${this.#pid}/ns/pid`);
    for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        if (readlinkSync(`/proc/${id}/ns/pid`) !== namespace) continue;
        const [, numbers] = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))!;
        if (Number(numbers!.split('\t').at(-1)) === there) return Number(id);
      } catch {
        // It has gone.
      }
    }
    throw new Error(`${unit} has no process ${there}`);
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }
}
