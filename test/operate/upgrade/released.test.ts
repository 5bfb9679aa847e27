/**
 * What earlier releases have said when they handed over is understood: recordings of a switch with
 * two guests, one with split rings and a control queue, one with packed rings. Files are not in a
 * recording; the test makes some, as the guests had them.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../../src/control/client.ts';
import { native } from '../../../src/native/addon.ts';
import { closeAll } from '../../../src/native/bundle.ts';
import { FdListener } from '../../../src/native/fd-socket.ts';
import { Talk } from '../../../src/native/talk.ts';
import {
  bundleOf,
  type Hello,
  messageOf,
  type Offer,
  type SessionMessage,
  type ToNext,
  type ToPresent,
} from '../../../src/operate/upgrade/messages.ts';
import { placeVariable } from '../../../src/operate/upgrade/place.ts';
import { Command } from '../../support/command.ts';

const released = new URL('./released/', import.meta.url);
const versions = readdirSync(released).map((file) => Number.parseInt(file, 10));
const memoryBytes = 0x80_0000;
/** Of the recorded split rings, whose drivers have offered one chain and got it back. */
const ringIndexes = [0x1002, 0x120a, 0x8_2a42, 0x8_2c4a];
const limitMs = 60_000;

let folder: string;
const open: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'released-'));
});

afterEach(async () => {
  await Command.killAll();
  for (const close of open.splice(0)) close();
  rmSync(folder, { recursive: true });
});

function recording(version: number): ToNext[] {
  const text = readFileSync(new URL(`${version}.json`, released), 'utf8');
  return JSON.parse(text.replaceAll('@FOLDER@', folder)) as ToNext[];
}

function listeningOn(path: string): number {
  const listener = FdListener.listen(path, { mode: 0o660 });
  open.push(() => listener.close());
  return listener.copy().fd;
}

/** As the session has named them. */
function filesOf({ text }: SessionMessage): number[] {
  const { files } = JSON.parse(text.slice(text.indexOf('\n'))) as { files: readonly string[] };
  const [ours, theirs] = native().socketPair();
  open.push(() => native().closeFd(ours));
  return [theirs, ...files.map((role) => (role.startsWith('memory') ? memory() : eventfd()))];
}

const eventfd = () => native().eventfdCreate();

function memory(): number {
  const fd = native().memfdCreate('guest', memoryBytes);
  for (const at of ringIndexes) writeSync(fd, Uint8Array.of(1, 0), 0, 2, at);
  return fd;
}

/** A process that was told to take over, once it has connected. */
async function taking(): Promise<{ talk: Talk; command: Command }> {
  const place = join(folder, 'place');
  const listener = FdListener.listen(place, { mode: 0o600 });
  const talk = new Promise<Talk>((resolve) => {
    listener.onConnection(
      (socket) => {
        const [ours, theirs] = native().socketPair();
        socket.send(Buffer.of(0), [theirs]);
        native().closeFd(theirs);
        socket.close();
        resolve(new Talk(ours));
      },
      () => {},
    );
  });
  const command = Command.begin(['--control', join(folder, 'control.sock')], {
    env: { [placeVariable]: place },
  });
  const found = await talk;
  listener.close();
  open.push(() => found.close());
  return { talk: found, command };
}

async function heard(talk: Talk): Promise<ToPresent> {
  const read = await talk.read(limitMs);
  if (typeof read === 'string') throw new Error(read);
  return messageOf<ToPresent>(read);
}

async function send(talk: Talk, message: ToNext, fds: readonly number[]): Promise<void> {
  expect(await talk.send(bundleOf(message, fds), limitMs)).toBe(true);
  closeAll(fds);
}

test('every version of the protocol has a recording', () => {
  expect(versions.toSorted()).toEqual(versions.map((_, i) => i + 1));
});

test.each(versions)('what version %i has handed over is gone on with', async (version) => {
  const [offer, ...rest] = recording(version) as [Offer, ...ToNext[]];
  const { talk, command } = await taking();
  expect(((await heard(talk)) as Hello).reads).toContain(version);
  await send(
    talk,
    offer,
    offer.sockets.map(({ path }) => listeningOn(path)),
  );
  expect(await heard(talk)).toEqual({ say: 'ready' });
  for (const message of rest) {
    await send(talk, message, message.say === 'session' ? filesOf(message) : []);
  }
  expect(await heard(talk)).toEqual({ say: 'forwards' });
  await send(talk, { say: 'go' }, []);
  await using client = await ControlClient.connect(join(folder, 'control.sock'));
  const ports = await client.ports();
  const rings = (...bases: readonly number[]) =>
    bases.map((base, queue) => ({ queue, base, state: 'started', enabled: true }));
  expect(ports).toMatchObject([
    { name: 'a', frontend: { rings: rings(1, 1, 0) } },
    { name: 'b', frontend: { rings: rings(0x8001_8001, 0x8001_8001) } },
  ]);
  expect(ports.map(({ macs }) => macs)).toEqual([['52:54:00:00:00:00'], ['52:54:00:00:00:01']]);
  expect(command.stdout).not.toMatch(/left|broke| error /);
});

test('a message cut short, or of nobody, ends the process that reads it, and it says why', async () => {
  const { talk, command } = await taking();
  await heard(talk);
  await talk.send({ text: '{"say":"offer","version":1', fds: [] }, limitMs);
  expect(await heard(talk)).toMatchObject({ say: 'failed' });
  talk.close();
  expect((await command.exited).status).toBe(1);
});
