/**
 * The units and folders of packaging/systemd, as systemd's own tools judge them. How a service runs
 * with them is in systemd.test.ts.
 */

import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { needsRoot } from '../../support/needs.ts';

const packaging = resolve('packaging/systemd');
const units = ['tsvswitch.service', 'tsvswitch.socket', 'tsvswitch-port@.socket'];
/** What systemd calls OK ends at 4.9, where unconfined services have 9.6; in tenths. */
const exposureMax = 15;

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'unit-'));
});

afterEach(() => rmSync(root, { recursive: true }));

const at = (path: string) => join(root, path);

function add(path: string, text: string, mode = 0o644): void {
  mkdirSync(join(at(path), '..'), { recursive: true });
  writeFileSync(at(path), text);
  chmodSync(at(path), mode);
}

test('the units are correct, and what they start and wait for is there', async () => {
  const folder = 'usr/lib/systemd/system';
  for (const unit of units) add(`${folder}/${unit}`, readFileSync(join(packaging, unit), 'utf8'));
  for (const target of ['sysinit', 'basic', 'shutdown', 'sockets', 'local-fs', 'multi-user']) {
    cpSync(`/lib/systemd/system/${target}.target`, at(`${folder}/${target}.target`));
  }
  const verify = () =>
    execa(
      'systemd-analyze',
      [
        ...['verify', '--man=no', '--generators=no', `--root=${root}`],
        ...['tsvswitch.service', 'tsvswitch.socket', 'tsvswitch-port@web.socket'],
      ],
      { reject: false, all: true },
    );
  expect((await verify()).all).toContain('Command tsvswitch is not executable');
  add('usr/local/bin/tsvswitch', '', 0o755);
  const { all, exitCode } = await verify();
  expect({ all, exitCode }).toEqual({ all: '', exitCode: 0 });
});

test(`the service is exposed by at most ${exposureMax / 10} of 10`, async () => {
  const judge = (threshold: number) =>
    execa(
      'systemd-analyze',
      [
        ...['security', '--offline=yes', '--no-pager', `--threshold=${threshold}`],
        join(packaging, 'tsvswitch.service'),
      ],
      { reject: false, all: true },
    );
  const { all, exitCode } = await judge(exposureMax);
  expect(all).toMatch(/Overall exposure level for tsvswitch\.service: [\d.]+ /);
  expect(exitCode, all).toBe(0);
  // A threshold is looked at.
  expect((await judge(1)).exitCode).not.toBe(0);
});

test('the user is one of a system without rights, and made once', needsRoot, async () => {
  for (const name of ['passwd', 'group']) add(`etc/${name}`, '');
  const make = () => execa('systemd-sysusers', [`--root=${root}`, `${packaging}/sysusers.conf`]);
  await make();
  const passwd = readFileSync(at('etc/passwd'), 'utf8');
  const [, uid, gid] =
    /^tsvswitch:x:(\d+):(\d+):[^:]*:\/var\/lib\/tsvswitch:\/usr\/sbin\/nologin$/m.exec(passwd)!;
  expect(Number(uid)).toBeLessThan(1000);
  expect(readFileSync(at('etc/group'), 'utf8')).toContain(`tsvswitch:x:${gid}:`);
  await make();
  expect(readFileSync(at('etc/passwd'), 'utf8')).toBe(passwd);
});

test(
  'the folders are made for the user, and those who run machines reach sockets',
  needsRoot,
  async () => {
    for (const name of ['passwd', 'group']) add(`etc/${name}`, '');
    await execa('systemd-sysusers', [`--root=${root}`, `${packaging}/sysusers.conf`]);
    await execa('systemd-tmpfiles', ['--create', `--root=${root}`, `${packaging}/tmpfiles.conf`]);
    const [, uid] = /^tsvswitch:x:(\d+):/m.exec(readFileSync(at('etc/passwd'), 'utf8'))!;
    const folders = ['run/tsvswitch', 'run/vsw', 'var/log/tsvswitch'].map(at);
    const { stdout } = await execa('stat', ['--format=%a %u', ...folders]);
    expect(stdout).toBe([`755 ${uid}`, `755 ${uid}`, `750 ${uid}`].join('\n'));
  },
);

test('all of them are in the package', async () => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const { stdout } = await execa('npm', args);
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  for (const name of [...units, 'sysusers.conf', 'tmpfiles.conf']) {
    expect(paths).toContain(`packaging/systemd/${name}`);
  }
});
