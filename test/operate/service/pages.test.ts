/**
 * docs/operate.md and docs/service.md as they stand there: their lines are typed one after the
 * other into a machine that has systemd, and each does what the page says.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { TestGuest } from '../../../src/testing/index.ts';
import { snippetsOf } from '../../docs/snippets.ts';
import { frameBetween, numberOf } from '../../support/ethernet.ts';
import { needs } from '../../support/needs.ts';
import { Systemd, systemdIsMissing } from '../../support/systemd.ts';

/** Types the snippets of a page, each once and in their order. */
class Reader {
  readonly #snippets;
  readonly #read: string[] = [];
  #folder = '';
  #systemd: Systemd | undefined;

  constructor(page: string) {
    this.#snippets = snippetsOf(page);
  }

  async begin(isInstalled: boolean): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'page-'));
    this.#systemd = await Systemd.boot(this.#folder, { isInstalled });
  }

  async end(): Promise<void> {
    await this.#systemd?.stop();
    rmSync(this.#folder, { recursive: true });
  }

  get systemd(): Systemd {
    return this.#systemd!;
  }

  /** The text of the snippet that has `part` in it. */
  take(part: string): string {
    const found = this.#snippets.filter(({ text }) => text.includes(part));
    expect(found, part).toHaveLength(1);
    this.#read.push(found[0]!.place);
    return found[0]!.text;
  }

  /** What it prints. Throws if one of its lines fails. */
  type(part: string): Promise<string> {
    return this.systemd.run(['bash', '-euo', 'pipefail', '-c', this.take(part)]);
  }

  expectWhole(): void {
    expect(this.#read).toEqual(this.#snippets.map(({ place }) => place));
  }

  guest(port: string): Promise<TestGuest> {
    return TestGuest.connect({ path: this.systemd.path(`/run/vsw/${port}.sock`) });
  }
}

const service = 'tsvswitch.service';

describe('docs/operate.md', needs(systemdIsMissing()), () => {
  const page = new Reader('docs/operate.md');
  const guests: TestGuest[] = [];
  beforeAll(() => page.begin(false));
  afterAll(async () => {
    for (const guest of guests) await guest[Symbol.asyncDispose]();
    await page.end();
  });

  const status = () => page.systemd.show(service, 'StatusText');
  const config = () => readFileSync(page.systemd.path('/etc/tsvswitch/tsvswitch.yaml'), 'utf8');

  /** Frames that machines sent and that arrived, counted by the machines. */
  async function expectForwarding(): Promise<void> {
    const [web, db] = [guests[0]!, guests[1]!];
    for (let number = 0; number < 20; number++) {
      await web.send(frameBetween(0, 1, number));
      expect(numberOf(await db.receive())).toBe(number);
    }
  }

  test('the service is installed, declared and started', async () => {
    await page.type('npm root -g');
    await page.type('enable --now tsvswitch');
    expect(await page.systemd.show(service, 'ActiveState')).toBe('active');
    expect(await status()).toBe('2 ports, 0 connected');
  });

  test('a machine is told how to connect, and connects', async () => {
    expect(await page.type('--for qemu')).toContain('path=/run/vsw/web.sock');
    guests.push(await page.guest('web'), await page.guest('db'));
    await expectForwarding();
  });

  test('it is looked at', async () => {
    const shown = await page.type('show fdb');
    expect(shown).toMatch(/^web\s+forwarding\b/m);
    expect(shown).toMatch(/52:54:00:00:00:0/);
  });

  test('it is changed with its file, while frames go on', async () => {
    expect(await page.type('reload --dry-run')).toContain('+ port cache');
    expect(existsSync(page.systemd.path('/run/vsw/cache.sock'))).toBe(true);
    await expectForwarding();
  });

  test('its file follows what is changed while it runs', async () => {
    expect(await page.type('config save')).toContain('mail');
    const ports = { mail: { path: '/run/vsw/mail.sock' }, db: { mtu: 9000 } };
    expect(parse(config())).toMatchObject({ ports });
    expect(config()).toContain('# The machines of this host.');
    expect(await page.systemd.run(['tsvswitch', 'config', 'diff'])).not.toContain('mail');
  });

  test('it is watched', async () => {
    const metrics = await page.type('curl');
    expect(metrics).toContain('tsvswitch_port_connected{port="web"');
    const rules = page.take('MachineIsNotConnected');
    const names = rules.match(/tsvswitch_\w+/g)!;
    for (const name of names) expect(metrics).toContain(`\n${name}{`);
    const file = page.systemd.path('/tmp/rules.yaml');
    writeFileSync(file, rules);
    execaSync('promtool', ['check', 'rules', file]);
  });

  test('it is upgraded and restarted, and its machines stay connected', async () => {
    const before = await page.systemd.mainPid(service);
    expect(await page.type('tsvswitch upgrade')).toContain('2 machines stayed connected');
    expect(await page.systemd.mainPid(service)).not.toBe(before);
    await vi.waitFor(async () => expect(await status()).toBe('4 ports, 2 connected'), 30_000);
    await expectForwarding();
  });

  test('nothing of the page was left out', () => page.expectWhole());
});

describe('docs/service.md', needs(systemdIsMissing()), () => {
  const page = new Reader('docs/service.md');
  beforeAll(() => page.begin(true));
  afterAll(() => page.end());

  const isActive = () => page.systemd.show(service, 'ActiveState');

  test('machines of a group are let in', async () => {
    await page.systemd.run(['groupadd', '--force', 'kvm']);
    await page.systemd.run(['mkdir', '-p', '/etc/tsvswitch']);
    await page.type('SupplementaryGroups=kvm');
    expect(await page.systemd.run(['stat', '--format=%a %U %G', '/run/vsw/01.sock'])).toBe(
      '660 tsvswitch kvm',
    );
  });

  test('another release is put in its place', async () => {
    const before = await page.systemd.mainPid(service);
    await page.type('tsvswitch upgrade');
    expect(await page.systemd.mainPid(service)).not.toBe(before);
    expect(await isActive()).toBe('active');
  });

  test('its log is in the journal, or in a file', async () => {
    expect(await page.type('journalctl')).toBe('-- No entries --');
    await page.type('StandardOutput=append');
    const file = page.systemd.path('/var/log/tsvswitch/tsvswitch.json');
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).event)).toEqual([
      ...['listening', 'listening', 'control'],
    ]);
  });

  test('who connects to a socket unit starts it', async () => {
    await page.type('systemctl enable --now tsvswitch.socket');
    expect(await isActive()).toBe('active');
    await using _ = await page.guest('01');
    await page.systemd.systemctl('stop', service);
    expect(existsSync(page.systemd.path('/run/vsw/01.sock'))).toBe(true);
  });

  test('nothing of the page was left out', () => page.expectWhole());
});
