/**
 * docs/service.md as it stands there: its lines are typed one after the other into a machine that
 * has the package and systemd, and each does what the page says.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestGuest } from '../../../src/testing/index.ts';
import { snippetsOf } from '../../docs/snippets.ts';
import { needs } from '../../support/needs.ts';
import { Systemd, systemdIsMissing } from '../../support/systemd.ts';

const page = 'docs/service.md';
const snippets = snippetsOf(page).filter(({ language }) => language === 'sh');

describe(page, needs(systemdIsMissing()), () => {
  let folder: string;
  let systemd: Systemd;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'page-'));
    systemd = await Systemd.boot(folder, { isInstalled: false });
  });

  afterAll(async () => {
    await systemd?.stop();
    rmSync(folder, { recursive: true });
  });

  /** The snippet that has `text` in it. Throws if one of its lines fails. */
  async function type(text: string): Promise<string> {
    const found = snippets.filter((snippet) => snippet.text.includes(text));
    expect(found, text).toHaveLength(1);
    typed.push(found[0]!.place);
    return systemd.run(['bash', '-euo', 'pipefail', '-c', found[0]!.text]);
  }
  const typed: string[] = [];
  const isActive = () => systemd.show('tsvswitch.service', 'ActiveState');

  test('the service is installed and started', async () => {
    await type('npm root -g');
    await type('enable --now tsvswitch\n');
    expect(await isActive()).toBe('active');
    expect(await type('systemctl status')).toMatch(/Status: "2 ports, 0 connected"/);
  });

  test('machines of a group are let in', async () => {
    await systemd.run(['groupadd', '--force', 'kvm']);
    await type('SupplementaryGroups=kvm');
    expect(await systemd.run(['stat', '--format=%a %U %G', '/run/vsw/01.sock'])).toBe(
      '660 tsvswitch kvm',
    );
  });

  test('it is changed with its file', async () => {
    expect(await type('reload --dry-run')).toContain('+ port 03');
    expect(existsSync(systemd.path('/run/vsw/03.sock'))).toBe(true);
  });

  test('its log is in the journal, or in a file', async () => {
    expect(await type('journalctl')).toBe('-- No entries --');
    await type('StandardOutput=append');
    const file = systemd.path('/var/log/tsvswitch/tsvswitch.json');
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).event)).toEqual([
      ...['listening', 'listening', 'control'],
    ]);
  });

  test('who connects to a socket unit starts it', async () => {
    await type('systemctl enable --now tsvswitch.socket');
    expect(await isActive()).toBe('active');
    await using _ = await TestGuest.connect({ path: systemd.path('/run/vsw/01.sock') });
    await systemd.systemctl('stop', 'tsvswitch.service');
    expect(existsSync(systemd.path('/run/vsw/01.sock'))).toBe(true);
  });

  test('nothing of the page was left out', () => {
    expect(typed).toEqual(snippets.map(({ place }) => place));
  });
});
