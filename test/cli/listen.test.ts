/** `--listen` and `listen:`: a confined switch takes requests over TCP, and what it refuses to. */

import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Certificates, makeCertificates } from '../control/tcp/certificates.ts';
import { Command } from '../support/command.ts';

let certificateFolder: string;
let certificates: Certificates;
let folder: string;
const at = (name: string) => join(folder, name);
const env = () => ({ STATE_DIRECTORY: at('state') });

beforeAll(async () => {
  certificateFolder = mkdtempSync(join(tmpdir(), 'certificates-'));
  certificates = await makeCertificates(certificateFolder, ['DNS:localhost', 'IP:127.0.0.1']);
});
afterAll(() => rmSync(certificateFolder, { recursive: true }));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'listen-'));
});
afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const tls = () => ['--listen-cert', certificates.certificate, '--listen-key', certificates.key];

async function urlOf(command: Command): Promise<string> {
  await command.said('with the token in ');
  return /taking requests on (https?:\S+),/.exec(command.stdout)![1]!;
}

test('over TLS, by a token that was made in the state folder', async () => {
  const readToken = at('read-token');
  const args = ['--listen', '127.0.0.1:0', ...tls(), '--listen-read-token', readToken];
  const command = await Command.start([at('a.sock')], args, { env: env() });
  const url = await urlOf(command);
  const tokenFile = join(at('state'), 'token');
  expect(command.stdout).toContain(`, with the token in ${tokenFile}\n`);
  expect(statSync(tokenFile).mode & 0o777).toBe(0o600);
  const where = ['--control', url, '--ca', certificates.ca];
  const as = (token: string, ...words: string[]) =>
    Command.run([...words, ...where, '--token', token]);
  expect(await as(tokenFile, 'show', 'ports', '-q')).toMatchObject({ status: 0, stdout: 'a\n' });
  expect(await as(readToken, 'show', 'ports', '-q')).toMatchObject({ status: 0, stdout: 'a\n' });
  expect(await as(readToken, 'port', 'remove', 'a')).toMatchObject({ status: 1, stdout: '' });
  const none = await Command.run(['status', ...where]);
  expect(none).toMatchObject({ status: 1, stdout: '' });
  expect(none.stderr).toMatch(/^tsvswitch: a token is needed here: .* or --token FILE/);
  const variables = { TSVSWITCH_TOKEN_FILE: tokenFile, TSVSWITCH_CA: certificates.ca };
  const removed = await Command.run(['--control', url, 'port', 'remove', 'a'], { env: variables });
  expect(removed).toMatchObject({ status: 0, stderr: '' });
  expect((await command.stop()).status).toBe(0);
  expect(await as(tokenFile, 'status')).toMatchObject({ status: 3, stdout: '' });
});

test('as a file says, and its certificate is read again with it', async () => {
  const [certificate, key, file] = [at('certificate'), at('key'), at('switch.yaml')];
  copyFileSync(certificates.certificate, certificate);
  copyFileSync(certificates.key, key);
  const tokenFile = at('token');
  const listen = { address: '127.0.0.1:0', certificate, key, token: tokenFile };
  writeFileSync(file, JSON.stringify({ listen, ports: { a: { path: at('a.sock') } } }));
  const command = Command.begin(['run', '--config', file], { env: env() });
  const url = await urlOf(command);
  const show = (ca: string) =>
    Command.run(['show', 'ports', '-q', '--control', url, '--ca', ca, '--token', tokenFile]);
  expect(await show(certificates.ca)).toMatchObject({ status: 0, stdout: 'a\n' });
  const next = await makeCertificates(folder, ['IP:127.0.0.1']);
  copyFileSync(next.certificate, certificate);
  copyFileSync(next.key, key);
  const reload = ['reload', '--control', url, '--token', tokenFile];
  expect(await Command.run([...reload, '--ca', certificates.ca])).toMatchObject({ status: 0 });
  expect(await show(next.ca)).toMatchObject({ status: 0, stdout: 'a\n' });
  const old = await show(certificates.ca);
  expect(old.status).toBe(3);
  expect(old.stderr).toMatch(/cannot be told from another \(.*\); give the certificate of who/);
  writeFileSync(key, 'no key');
  expect(await Command.run([...reload, '--ca', next.ca])).toMatchObject({ status: 0 });
  await command.said('the certificate stays as it was: ');
  expect(await show(next.ca)).toMatchObject({ status: 0 });
  const save = ['config', 'save', '--control', url, '--token', tokenFile, '--ca', next.ca];
  expect((await Command.run(save)).stderr).toContain(`${file} is on the host of the switch: `);
  const doctor = ['doctor', '--control', url, '--token', tokenFile, '--ca', next.ca];
  expect((await Command.run(doctor)).stdout).toContain('port a');
});

test('on loopback without TLS, but not without a token', async () => {
  const command = Command.begin(['--listen', '127.0.0.1:0'], { env: env() });
  const url = await urlOf(command);
  expect((await fetch(`${url}/v1/status`)).status).toBe(401);
  const token = readFileSync(join(at('state'), 'token'), 'utf8').trim();
  const headers = { authorization: `Bearer ${token}` };
  expect((await fetch(`${url}/v1/status`, { headers })).status).toBe(200);
});

const worldReadable = () => {
  writeFileSync(at('open'), 'a-token-that-others-read', { mode: 0o644 });
  return at('open');
};

test.each<[string, () => string[], RegExp]>([
  [
    'plain HTTP to others',
    () => ['--listen', ':9443'],
    /^:9443 is reached from other hosts, where/,
  ],
  ['a name', () => ['--listen', 'localhost:1'], /^localhost:1 is no address to listen on/],
  [
    'a certificate alone',
    () => ['--listen', ':0', '--listen-cert', certificates.certificate],
    /^certificate is given without key; TLS needs both/,
  ],
  [
    'a key that is not there',
    () => ['--listen', ':0', '--listen-cert', certificates.certificate, '--listen-key', '/none'],
    /^key \/none cannot be read: ENOENT/,
  ],
  [
    'a token that others may read',
    () => ['--listen', '127.0.0.1:0', '--listen-token', worldReadable()],
    /^token file .*open may be read by others \(mode 644\); make that `chmod 600 /,
  ],
  [
    'a token for nothing',
    () => ['--listen-token', at('token'), '--socket', at('a.sock')],
    /^--listen-token is for the address of --listen, which is not given$/,
  ],
])('%s is wrong usage', async (_, args, sentence) => {
  const { status, stdout, stderr } = await Command.run(args(), { env: env() });
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr.replace(/^tsvswitch: (listen: )?/, '').trimEnd()).toMatch(sentence);
});
