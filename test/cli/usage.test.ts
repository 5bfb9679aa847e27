/** Wrong command lines: each is one sentence that names the word, and the status is 2. */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Command } from '../support/command.ts';
import { expectSentence } from '../support/sentence.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'usage-'));
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);

test('a wrong command line names the help of the very command it is for', async () => {
  for (const command of [['host', 'status'], ['lab', 'up'], ['doctor']]) {
    const { status, stderr } = await Command.run([...command, '--nonsense']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^tsvswitch: unknown option '--nonsense'\n/);
    expect(stderr).toContain(`(tsvswitch ${command.join(' ')} --help lists the options)`);
  }
});

test('a lab file without -f is told of it', async () => {
  const { status, stderr } = await Command.run(['lab', 'up', 'net.yaml']);
  expect({ status, stderr }).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^tsvswitch: too many arguments .* -f net\.yaml\.\n/),
  });
});

test('help is a command as well', async () => {
  expect(await Command.run(['help'])).toEqual(await Command.run(['--help']));
  expect(await Command.run(['help', 'lab'])).toEqual(await Command.run(['lab', '--help']));
});

describe('a wrong command line ends with 2 and says what is wrong', () => {
  test.each<[string, string[], RegExp]>([
    ['no socket', [], /--socket/],
    ['an unknown option', ['--socket', 'x.sock', '--fast'], /unknown option '--fast'/],
    ['a surplus argument', ['--socket', 'x.sock', 'more'], /too many arguments|more/],
    ['an option without its value', ['--socket'], /--socket.* argument missing/],
    ['workers that are no number', ['--socket', 'x.sock', '--workers', 'two'], /whole number/],
    ['negative workers', ['--socket', 'x.sock', '--workers', '-1'], /--workers/],
    ['an idle time with a unit', ['--socket', 'x.sock', '--idle-us', '50us'], /whole number/],
    ['an ageing time with a fraction', ['--socket', 'x.sock', '--ageing', '1.5'], /whole number/],
    ['CPUs that are no list', ['--socket', 'x.sock', '--cpus', '1;2'], /such as 1,3 or 2-5/],
    ['a CPU range that is upside down', ['--socket', 'x.sock', '--cpus', '5-2'], /1,3 or 2-5/],
    ['a mode that is not octal', ['--socket', 'x.sock', '--socket-mode', '888'], /such as 660/],
    [
      'an unknown option of a port',
      ['--socket', 'x.sock,macs=1'],
      /no option macs; it has allow, mac, address/,
    ],
    [
      'an option of a port without `=`, which would leave the port unprotected',
      ['--socket', 'x.sock,allowroot'],
      /"allowroot" is no option of a port, such as allow=USER .*; a comma .* is written twice/,
    ],
    ['the same behind --connect', ['--connect', 'x.sock,mac'], /"mac" is no option of a port/],
    ['the same behind a good one', ['--socket', 'x.sock,allow=0,mac'], /"mac" is no option/],
    ['a comma at the end', ['--socket', 'x.sock,'], /"" is no option of a port/],
    ['a path with a comma that is not doubled', ['--socket', 'x.sock,b=1'], /no option b; it/],
    ['an option of a port without its path', ['--socket', ',allow=0'], /path .* is not empty/],
    ['a socket without --socket', ['/run/01.sock'], /01\.sock stands alone; .*: --socket \/run/],
    [
      'a command that is misspelled',
      ['captur'],
      /unknown command 'captur'; did you mean capture\?$/,
    ],
    ['a command that is none', ['start'], /unknown command 'start'$/],
    [
      'a MAC address that is none',
      ['--socket', 'x.sock,mac=52:54'],
      /"52:54" is not the MAC address of/,
    ],
    [
      'an address that is none',
      ['--connect', 'x.sock,address=host'],
      /"host" is not an IP address or/,
    ],
    ['a switch of a port half way', ['--socket', 'x.sock,ring-reset=yes'], /on or off, not "yes"/],
    ['another one', ['--socket', 'x.sock,in-band='], /in-band is on or off, not ""/],
    [
      'an option of a port without a value',
      ['--socket', 'x.sock,allow='],
      /allow names ""; a user such as/,
    ],
    ['an unknown log level', ['--socket', 'x.sock', '--log-level', 'all'], /error, warn, info/],
    ['an unknown log format', ['--socket', 'x.sock', '--log-format', 'xml'], /text, json/],
  ])('%s', async (_, args, pattern) => {
    const placed = args.map((argument) => argument.replace(/^x\.sock/, socket('x')));
    const exit = await Command.run(placed);
    expect(exit.status).toBe(2);
    expectSentence(exit, pattern);
    expect(readdirSync(folder)).toEqual([]);
  });
});
