/** `tsvswitch check` and `tsvswitch config` as their users run them. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Command } from '../support/command.ts';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'config-'));
  file = join(folder, 'switch.yaml');
});

afterEach(() => rmSync(folder, { recursive: true }));

test('a good file is told in one line', async () => {
  writeFileSync(file, 'ports: { a: { path: /a.sock }, b: { path: /b.sock, bridge: blue } }\n');
  expect(await Command.run(['check', file])).toMatchObject({
    status: 0,
    stdout: `${file}: a switch with 2 ports and 2 bridges\n`,
    stderr: '',
  });
});

test('a bad one ends with status 2 and a line for each mistake', async () => {
  writeFileSync(file, 'workers: 70\nports: { a: { pth: /a } }\n');
  const { status, stdout, stderr } = await Command.run(['check', file]);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toBe(
    `tsvswitch: ${file}:1:10: workers: must be at most 64, not 70\n` +
      `${file}:2:15: ports.a.pth: there is no such key; did you mean path?\n`,
  );
});

test('a program gets the complete settings', async () => {
  writeFileSync(file, 'ports: { a: { path: /a.sock } }\n');
  const { stdout } = await Command.run(['check', '--json', file]);
  expect(JSON.parse(stdout)).toMatchObject({
    log: { level: 'info' },
    ports: { a: { kind: 'vhost-user', mtu: 1500 } },
  });
});

test('the file that is printed to start from is good', async () => {
  const { stdout } = await Command.run(['config', 'init']);
  writeFileSync(file, stdout);
  expect(await Command.run(['check', file])).toMatchObject({ status: 0, stderr: '' });
});

test('editors are told where the schema is', async () => {
  const { stdout } = await Command.run(['config', 'schema']);
  expect(stdout).toBe(`${resolve('tsvswitch.schema.json')}\n`);
});
