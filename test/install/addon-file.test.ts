/**
 * An addon that cannot be of use here, and a Node that is too old: the installed package says in
 * one sentence what is wrong, which platform this is and what to do. The other binary of the
 * package is run under QEMU.
 *
 * @module-tag long
 */

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { nodeProgram, pack } from './npm.ts';

const here = `linux-${process.arch}`;
const other = process.arch === 'x64' ? 'arm64' : 'x64';
const limitMs = 300_000;
let packed: string;
let folder: string;
/** The package as it lies in somebody's node_modules. */
let installed: string;

beforeAll(async () => {
  packed = mkdtempSync(join(tmpdir(), 'addon-file-'));
  execFileSync('tar', ['-xzf', await pack(packed), '-C', packed]);
}, limitMs);

afterAll(() => rmSync(packed, { recursive: true, force: true }));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'addon-'));
  installed = join(folder, 'node_modules', 'tsvswitch');
  cpSync(join(packed, 'package'), installed, { recursive: true });
  symlinkSync(resolve('node_modules'), join(installed, 'node_modules'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const addon = (arch: string = process.arch) =>
  join(installed, 'prebuilds', `linux-${arch}-glibc`, 'tsvswitch.node');

/** What the command says when it is started. */
async function start(program: string = process.execPath, env: NodeJS.ProcessEnv = {}) {
  const script = join(installed, 'dist', 'cli', 'main.js');
  const { exitCode, signal, stderr } = await execa(
    program,
    [script, '--socket', join(folder, 'port')],
    { reject: false, env: { TSVSWITCH_ADDON: undefined, ...env }, timeout: 60_000 },
  );
  return { exitCode, signal, stderr };
}

const sentence = (...parts: string[]) => ({
  exitCode: 1,
  signal: undefined,
  stderr: expect.stringMatching(
    // One line, begun once.
    new RegExp(`^tsvswitch: (?!.*tsvswitch: )${parts.map((part) => `.*${part}`).join('')}.*$`),
  ),
});

describe('the addon of the package', () => {
  const damages: [string, (bytes: Buffer) => Buffer][] = [
    ['empty', () => Buffer.alloc(0)],
    ['a text', () => Buffer.from('<html>not found</html>'.repeat(100))],
    ['its first page', (bytes) => bytes.subarray(0, 4096)],
    ['half of it', (bytes) => bytes.subarray(0, bytes.length / 2)],
    ['all but the last byte', (bytes) => bytes.subarray(0, -1)],
    ['zeros in the middle', (bytes) => Buffer.from(bytes).fill(0, 8192, bytes.length - 8192)],
    ['one bit changed', (bytes) => flipped(bytes, bytes.length >> 1)],
    ['a header that promises too much', (bytes) => flipped(bytes, 46)],
  ];

  test.each(damages)('that is %s is called damaged', async (_, damage) => {
    writeFileSync(addon(), damage(readFileSync(addon())));
    expect(await start()).toEqual(sentence(here, 'damaged', 'install the package again'));
  });

  test('of another processor is called so', async () => {
    copyFileSync(addon(other), addon());
    const parts = [`is for ${other} and this is ${here}`, 'npm ci && npm run build'];
    expect(await start()).toEqual(sentence(...parts));
  });

  test('that is not there is named by its platform, with those that are', async () => {
    rmSync(join(addon(), '..'), { recursive: true });
    const parts = [`no native addon for ${here}`, `linux-${other}-glibc`, 'clone', 'npm run build'];
    expect(await start()).toEqual(sentence(...parts, 'TSVSWITCH_ADDON'));
  });

  test('without its checksums is not trusted', async () => {
    rmSync(join(installed, 'prebuilds', 'SHA256SUMS'));
    expect(await start()).toEqual(sentence('SHA256SUMS', 'install the package again'));
  });
});

describe('an addon named by TSVSWITCH_ADDON', () => {
  test('that is not there is named', async () => {
    const env = { TSVSWITCH_ADDON: '/nowhere/tsvswitch.node' };
    expect(await start(process.execPath, env)).toEqual(sentence('/nowhere/tsvswitch.node', here));
  });

  test('that is a library of something else is refused', async () => {
    const library = execFileSync('sh', ['-c', 'ldd /bin/sh'], { encoding: 'utf8' });
    const env = { TSVSWITCH_ADDON: /=> (\/\S*libc\S*)/.exec(library)![1]! };
    expect(await start(process.execPath, env)).toEqual(sentence('cannot be loaded', here));
  });

  test('that needs a later C library says which', async () => {
    const file = join(folder, 'later.node');
    const text = readFileSync(addon(), 'latin1').replaceAll('GLIBC_2.34', 'GLIBC_9.34');
    writeFileSync(file, text, 'latin1');
    const parts = ['needs GLIBC 9.34', here, 'has 2\\.\\d+', 'npm run build'];
    expect(await start(process.execPath, { TSVSWITCH_ADDON: file })).toEqual(sentence(...parts));
  });
});

test('a Node that is too old is told so, and which will do', { timeout: limitMs }, async () => {
  const parts = ['needs Node 20.19 or later and this is 18\\.'];
  expect(await start(await nodeProgram('18'))).toEqual(sentence(...parts));
});

test(`the binary for ${other} opens a switch and moves frames`, { timeout: limitMs }, async () => {
  const [program, triplet] =
    other === 'arm64' ? ['qemu-aarch64', 'aarch64-linux-gnu'] : ['qemu-x86_64', 'x86_64-linux-gnu'];
  const script = join(folder, 'frames.mjs');
  writeFileSync(
    script,
    `import { Switch } from 'tsvswitch';
    import { arp, TestGuest } from 'tsvswitch/testing';
    const path = ${JSON.stringify(join(folder, 'guest'))};
    const manual = Switch.open({ clock: 'manual' });
    const [a, b] = [manual.addPort({ process: 'a' }), manual.addPort({ process: 'b' })];
    for (let bytes = 60; bytes < 1560; bytes += 100) {
      a.send(new Uint8Array(bytes).fill(bytes).fill(255, 0, 6));
      manual.step();
    }
    console.log(process.arch, ...b.take().map((frame) => frame.length + ':' + frame.at(-1)));
    manual.close();
    // With a worker's thread, mapped memory, eventfds, and rings of either format.
    const vswitch = Switch.open();
    const host = vswitch.addPort({ process: 'host' });
    vswitch.addPort({ path });
    const packed = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED'];
    for (const options of [{}, { features: packed }]) {
      const guest = await TestGuest.connect({ path, ...options });
      const frame = arp({ senderMac: '52:54:00:00:00:01', senderIp: '10.0.0.1', targetIp: '10.0.0.2' });
      await guest.send(frame);
      console.log((await host.receive({ timeoutMs: 60000 }))[0].equals(Buffer.from(frame)));
      host.send(frame);
      await guest.expect(frame);
      await guest.close();
    }
    try { vswitch.addPort({ path: '/nowhere/x' }); } catch (error) { console.log(error.code); }
    vswitch.close();`,
  );
  const { stdout } = await execa(program, [await nodeProgram('22', other), script], {
    env: { QEMU_LD_PREFIX: `/usr/${triplet}`, TSVSWITCH_ADDON: undefined },
    timeout: limitMs,
  });
  const frames = Array.from({ length: 15 }, (_, i) => `${60 + i * 100}:${(60 + i * 100) % 256}`);
  expect(stdout.split('\n')).toEqual([
    [other, ...frames].join(' '),
    'true',
    'true',
    'SOCKET_FOLDER_MISSING',
  ]);
});

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at]! ^= 1;
  return changed;
}
