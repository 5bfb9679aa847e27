/**
 * A folder that snippets run in as if nobody had run anything before: a project that has tsvswitch
 * installed, and a mount namespace in which /run is empty, the command is on the PATH and libvirt's
 * user is there.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execaSync } from 'execa';
import { script } from '../support/command.ts';

export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** Long enough for a busy machine; a snippet takes a second. */
const limitMs = 60_000;

/** Whether shell lines can be kept away from the host's own files. */
export const mayHaveNamespaces =
  execaSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/run'], { reject: false })
    .exitCode === 0;

/** $1 is a folder to keep files in; what follows runs afterwards. */
const enter = `
  mount -t tmpfs none /run
  mkdir /run/vsw
  for file in passwd group; do cp /etc/$file "$1/$file"; done
  grep -q ^libvirt-qemu: /etc/passwd || echo libvirt-qemu:x:64055:64055::/:/bin/false >> "$1/passwd"
  grep -q ^libvirt-qemu: /etc/group || echo libvirt-qemu:x:64055: >> "$1/group"
  for file in passwd group; do mount --bind "$1/$file" /etc/$file; done
  shift
  exec "$@"`;

export class Scratch {
  readonly folder = mkdtempSync(join(tmpdir(), 'docs-'));

  constructor() {
    const modules = join(this.folder, 'node_modules');
    mkdirSync(modules);
    symlinkSync(resolve('.'), join(modules, 'tsvswitch'));
    for (const name of ['vitest', '@types']) {
      symlinkSync(resolve('node_modules', name), join(modules, name));
    }
    // What the switch refuses is no success of curl's.
    this.write('.curlrc', 'fail-with-body\n');
    this.write('package.json', JSON.stringify({ type: 'module' }));
    mkdirSync(join(this.folder, 'bin'));
    this.write('bin/tsvswitch', `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`);
    chmodSync(join(this.folder, 'bin/tsvswitch'), 0o755);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text);
  }

  /** A folder of its own below this one. */
  subfolder(name: string): string {
    const folder = this.path(name);
    mkdirSync(folder);
    return folder;
  }

  /** Runs lines of a shell, which end at the first that fails, away from the host's own /run. */
  runShell(lines: string, cwd: string, until?: string): Promise<Ran> {
    const command = ['sh', '-ec', enter, 'sh', cwd, 'bash', '-eo', 'pipefail', '-c', lines];
    return this.run(['unshare', '--mount', ...command], cwd, until);
  }

  /** Runs a program to its end, or until it has printed `until` and is interrupted. */
  run([program, ...args]: readonly string[], cwd: string, until?: string): Promise<Ran> {
    const child = spawn(program!, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, since what is interrupted from a terminal is all of it.
      detached: true,
      env: { ...process.env, PATH: `${this.path('bin')}:${process.env.PATH}`, HOME: this.folder },
    });
    return ended(child, until);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

function ended(child: ChildProcess, until: string | undefined): Promise<Ran> {
  const send = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // It is gone already.
    }
  };
  const timer = setTimeout(() => send('SIGKILL'), limitMs);
  let output = '';
  let interrupted = false;
  const hear = (text: string) => {
    output += text;
    if (until === undefined || interrupted || !output.includes(until)) return;
    interrupted = true;
    send('SIGINT');
  };
  child.stdout!.setEncoding('utf8').on('data', hear);
  child.stderr!.setEncoding('utf8').on('data', hear);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, output });
    });
  });
}
