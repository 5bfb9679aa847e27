/**
 * The lab of docs/lab.md, as it is printed there: two Debian machines from nothing to gone.
 *
 * Each test goes on from the one before. The image is built when the cache has none, which takes
 * minutes; so do emulated machines that boot with cloud-init. Limits are for that.
 *
 * @module-tag long
 * @module-tag huge-pages
 */

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabStatus } from '../../src/lab/report.ts';
import { LabFolder } from '../support/lab-command.ts';

const upLimitMs = 900_000;
const restartLimitMs = 300_000;
const commandLimitMs = 120_000;

/** The lab file of the page. */
const yaml = /^```yaml\n(machines:\n[^`]*)^```$/m.exec(readFileSync('docs/lab.md', 'utf8'))?.[1];
const addresses = { web: '192.168.0.1', db: '192.168.0.2' };

describe("the documents' lab of two Debian machines", () => {
  let folder: LabFolder;

  beforeAll(async () => {
    expect(yaml).toContain('builtin:debian');
    folder = await LabFolder.make(yaml);
  });

  afterAll(() => folder.dispose(), commandLimitMs);

  async function lab(args: readonly string[], options: object = {}): Promise<string> {
    const exit = await folder.run(args, options);
    expect(exit, exit.stderr).toMatchObject({ status: 0 });
    return exit.stdout;
  }

  const inside = (machine: string, line: string) => lab(['exec', machine, '--', 'sh', '-c', line]);

  async function status(): Promise<LabStatus> {
    return JSON.parse(await lab(['status', '--json']));
  }

  test('comes up from nothing', { timeout: upLimitMs }, async () => {
    const said = await lab(['up'], { timeout: upLimitMs });
    for (const machine of ['web', 'db']) expect(said).toMatch(new RegExp(`${machine}: ready`));
  });

  test('has finished cloud-init without an error', { timeout: commandLimitMs }, async () => {
    for (const machine of ['web', 'db']) {
      const [name, ...result] = (
        await inside(machine, 'hostname; cat /run/cloud-init/result.json')
      ).split('\n');
      expect(name).toBe(machine);
      expect(JSON.parse(result.join('\n'))).toMatchObject({ v1: { errors: [] } });
    }
  });

  test('gives every card on the switch the address that the file says', {
    timeout: commandLimitMs,
  }, async () => {
    for (const { name, mac, addresses } of (await status()).machines) {
      const cards = JSON.parse(await inside(name, 'ip -json address'));
      const card = cards.find(({ address }: { address: string }) => address === mac);
      const given = card.addr_info
        .filter(({ scope }: { scope: string }) => scope === 'global')
        .map((entry: { local: string; prefixlen: number }) => `${entry.local}/${entry.prefixlen}`);
      expect(given).toEqual(addresses);
      expect(given).toEqual([expect.stringMatching(/^192\.168\.0\.[12]\/24$/)]);
    }
  });

  test('lets every machine ping the other one', { timeout: commandLimitMs }, async () => {
    expect(await inside('web', `ping -c 3 ${addresses.db}`)).toContain('3 received');
    expect(await inside('db', `ping -c 3 ${addresses.web}`)).toContain('3 received');
    expect(await lab(['ping'])).not.toContain('lost');
  });

  test('carries a file over ssh from one machine to the other, unharmed', {
    timeout: commandLimitMs,
  }, async () => {
    const key = await inside('web', 'ssh-keygen -q -t ed25519 -N "" -f ~/k && cat ~/k.pub');
    await lab(['exec', 'db', '--', 'sh', '-c', 'cat >> ~/.ssh/authorized_keys'], { input: key });
    const sum = await inside('web', 'head -c 4M /dev/urandom | tee ~/file | sha256sum');
    await inside(
      'web',
      `scp -i ~/k -o StrictHostKeyChecking=accept-new ~/file ${addresses.db}:copy`,
    );
    expect(await inside('db', 'sha256sum < copy')).toBe(sum);
    expect(sum).toMatch(/^[0-9a-f]{64} /);
  });

  test('moves TCP data', { timeout: commandLimitMs }, async () => {
    const said = await lab(['iperf', 'web', 'db', '--seconds', '3']);
    expect(said).toMatch(/^web to db: [1-9][\d.]* [MG]bit\/s/);
  });

  test('gives one machine other user-data, by which it restarts, while the other one stays', {
    timeout: upLimitMs,
  }, async () => {
    const bootId = '/proc/sys/kernel/random/boot_id';
    const [web, db] = [await inside('web', `cat ${bootId}`), await inside('db', `cat ${bootId}`)];
    const userData = [
      'userData:',
      '  ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMrD77Zl mine]',
      '  write_files: [{ path: /etc/mode, content: mode, permissions: 0640 }]',
      '  users: [{ name: other, lock_passwd: no, plain_text_passwd: secret }]',
      `  runcmd: [[cp, ${bootId}, /etc/first-boot]]`,
      '  power_state: { mode: reboot, delay: now }',
    ];
    const lines = userData.map((line) => `    ${line}\n`).join('');
    await folder.write(yaml!.replace('  db:\n', `  db:\n${lines}`));
    await lab(['up'], { timeout: upLimitMs });
    // At once, and without a word about host keys, which are others now.
    const exit = await folder.run(['exec', 'db', '--', 'cat', bootId]);
    expect(exit).toMatchObject({ status: 0, stderr: '' });
    const first = (await inside('db', 'cat /etc/first-boot')).trim();
    expect(new Set([db.trim(), first, exit.stdout.trim()]).size).toBe(3);
    expect(await inside('web', `cat ${bootId}`)).toBe(web);

    expect(await inside('db', 'stat --format %s copy')).toBe(String(4 * 2 ** 20));
    expect(await inside('db', 'stat --format %a /etc/mode')).toBe('640');
    expect(await inside('db', 'sudo getent shadow other')).toMatch(/^other:\$/);
    expect(await inside('db', 'cat ~/.ssh/authorized_keys')).toMatch(/ mine$/m);
    expect(await inside('web', `ping -c 3 ${addresses.db}`)).toContain('3 received');
  });

  test('goes without leaving a process, socket, lock or disk', {
    timeout: restartLimitMs,
  }, async () => {
    expect(folder.leftovers()).not.toEqual([]);
    await lab(['down', '--destroy'], { timeout: restartLimitMs });
    expect(folder.leftovers()).toEqual([]);
  });
});
