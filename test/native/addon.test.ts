/**
 * What the addon promises about fds that no other test needs: watching (one thread per environment,
 * gone when nothing is watched), eventfds, memory files, and argument checks.
 */

import { fstatSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { native, type PeerCredentials } from '../../src/native/addon.ts';

const addon = native();
const addonPath = createRequire(import.meta.url).resolve(
  process.env.TSVSWITCH_ADDON ??
    fileURLToPath(new URL('../../build/release/Release/tsvswitch.node', import.meta.url)),
);

/** One that was joined is listed until the kernel is done with it: counts are waited for. */
function watchThreads(): number {
  return readdirSync('/proc/self/task').filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8') === 'tsvswitch-watch\n';
    } catch {
      return false;
    }
  }).length;
}

function openFds(): string[] {
  return readdirSync('/proc/self/fd');
}

/** The next callback of a watch on `fd`, after which it is no longer watched. */
function nextReadable(fd: number): Promise<void> {
  return new Promise((resolve) => {
    addon.watchReadable(fd, () => {
      addon.unwatchReadable(fd);
      resolve();
    });
  });
}

describe('watchReadable', () => {
  test('calls again and again while the fd stays readable', async () => {
    const fd = addon.eventfdCreate();
    addon.eventfdSignal(fd);
    let calls = 0;
    await new Promise<void>((resolve) => {
      addon.watchReadable(fd, () => {
        calls++;
        if (calls === 5) resolve();
      });
    });
    addon.closeFd(fd);
    expect(calls).toBe(5);
  });

  test('calls for what arrives before, during and after a callback', async () => {
    const fd = addon.eventfdCreate();
    addon.eventfdSignal(fd);
    const seen: number[] = [];
    await new Promise<void>((resolve) => {
      addon.watchReadable(fd, () => {
        seen.push(addon.eventfdDrain(fd));
        if (seen.length === 1) addon.eventfdSignal(fd);
        if (seen.length === 2) setImmediate(() => addon.eventfdSignal(fd));
        if (seen.length === 3) resolve();
      });
    });
    addon.closeFd(fd);
    expect(seen).toEqual([1, 1, 1]);
  });

  test('never calls after unwatchReadable, however far the event has got', async () => {
    const [dropped, kept] = [addon.eventfdCreate(), addon.eventfdCreate()];
    const answered = nextReadable(kept);
    let calls = 0;
    addon.eventfdSignal(dropped);
    // This thread does not return to its event loop, so an event the other one has sent waits
    // there. The pauses before unwatchReadable, 0 to 400 us, catch it before, during and after
    // sending.
    for (let pauseUs = 0; pauseUs < 400; pauseUs++) {
      addon.watchReadable(dropped, () => calls++);
      const untilMs = performance.now() + pauseUs / 1000;
      while (performance.now() < untilMs);
      addon.unwatchReadable(dropped);
    }
    addon.eventfdSignal(kept);
    // Events are delivered in order, so this one comes after all that must not.
    await answered;
    expect(calls).toBe(0);
    for (const fd of [dropped, kept]) addon.closeFd(fd);
  });

  test('leaves neither thread nor fd once nothing is watched', async () => {
    const before = openFds();
    const [a, b] = [addon.eventfdCreate(), addon.eventfdCreate()];
    addon.watchReadable(a, () => {});
    addon.watchReadable(b, () => {});
    await expect.poll(watchThreads).toBe(1);
    addon.unwatchReadable(a);
    await expect.poll(watchThreads).toBe(1);
    addon.closeFd(b);
    await expect.poll(watchThreads).toBe(0);
    addon.closeFd(a);
    expect(openFds()).toEqual(before);
  });

  test('refuses an fd that is watched already and one that cannot be watched', async () => {
    const fd = addon.eventfdCreate();
    addon.watchReadable(fd, () => {});
    expect(() => addon.watchReadable(fd, () => {})).toThrow(/is watched already/);
    addon.closeFd(fd);
    const memory = addon.memfdCreate('always readable', 4096);
    expect(() => addon.watchReadable(memory, () => {})).toThrow(/cannot watch fd \d+: Operation/);
    await expect.poll(watchThreads).toBe(0);
    addon.closeFd(memory);
  });

  test('an exception in the callback is an uncaught exception', async () => {
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      const fd = addon.eventfdCreate();
      process.on('uncaughtException', (error) => { console.log(error.message); addon.closeFd(fd); });
      addon.watchReadable(fd, () => { addon.eventfdDrain(fd); throw new Error('thrown on purpose'); });
      addon.eventfdSignal(fd);`;
    const { stdout } = await execa(process.execPath, ['-e', script], { timeout: 60_000 });
    expect(stdout).toBe('thrown on purpose');
  });

  test('keeps the process alive only while something is watched', async () => {
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      const fd = addon.eventfdCreate();
      addon.watchReadable(fd, () => { console.log('called'); addon.unwatchReadable(fd); });
      setTimeout(() => addon.eventfdSignal(fd), 20).unref();
      process.on('exit', () => console.log('exit'));`;
    const { stdout } = await execa(process.execPath, ['-e', script], { timeout: 60_000 });
    expect(stdout).toBe('called\nexit');
  });

  test('a worker thread has its own, which goes away with it', async () => {
    const before = openFds().length;
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      const fd = addon.eventfdCreate();
      addon.watchReadable(fd, () => {
        addon.eventfdDrain(fd);
        require('node:worker_threads').parentPort.postMessage(fd);
      });
      addon.eventfdSignal(fd);`;
    const worker = new Worker(script, { eval: true });
    const fd = await new Promise<number>((resolve, reject) => {
      worker.on('message', resolve).on('error', reject);
    });
    await expect.poll(watchThreads).toBe(1);
    await worker.terminate();
    await expect.poll(watchThreads).toBe(0);
    addon.closeFd(fd);
    expect(openFds().length).toBeLessThanOrEqual(before);
  });
});

describe('eventfds and memory files', () => {
  test('an eventfd counts what was signalled and says when it is full', () => {
    const fd = addon.eventfdCreate();
    expect(addon.eventfdDrain(fd)).toBe(0);
    expect([addon.eventfdSignal(fd), addon.eventfdSignal(fd)]).toEqual([true, true]);
    expect(addon.eventfdDrain(fd)).toBe(2);
    addon.closeFd(fd);
    expect(() => addon.eventfdDrain(fd)).toThrow(expect.objectContaining({ code: 'SYSTEM' }));
  });

  test('a memory file has the size asked for', () => {
    const fd = addon.memfdCreate('guest', 3 * 4096);
    expect(fstatSync(fd).size).toBe(3 * 4096);
    addon.closeFd(fd);
  });

  test('closing an fd twice is an error', () => {
    const fd = addon.eventfdCreate();
    addon.closeFd(fd);
    expect(() => addon.closeFd(fd)).toThrow(/Bad file descriptor/);
  });
});

/** How often a file of memfdCreate(name) is mapped into this process. */
function mappingsOf(name: string): number {
  return readFileSync('/proc/self/maps', 'utf8').split(`/memfd:${name} `).length - 1;
}

describe('mapped files', () => {
  test('are the same bytes in every mapping, also after the fd is closed', () => {
    const fd = addon.memfdCreate('shared', 8192);
    const [one, other] = [addon.mapFile(fd, 8192), addon.mapFile(fd, 4096)];
    addon.closeFd(fd);
    new Uint8Array(one)[4095] = 7;
    expect(new Uint8Array(other)[4095]).toBe(7);
    expect([one.byteLength, other.byteLength]).toEqual([8192, 4096]);
    for (const buffer of [one, other]) addon.unmapFile(buffer);
  });

  test('end when they are unmapped, and leave no byte to anybody who holds them', async () => {
    const fd = addon.memfdCreate('unmapped', 4096);
    const buffer = addon.mapFile(fd, 4096);
    const bytes = Buffer.from(buffer);
    expect(mappingsOf('unmapped')).toBe(1);
    addon.unmapFile(buffer);
    addon.unmapFile(buffer);
    expect([buffer.byteLength, bytes.length, bytes[0]]).toEqual([0, 0, undefined]);
    await expect.poll(() => mappingsOf('unmapped')).toBe(0);
    addon.closeFd(fd);
  });

  test('end with the worker thread that made them', async () => {
    const fd = addon.memfdCreate('of-a-thread', 4096);
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      globalThis.kept = new Uint8Array(addon.mapFile(${fd}, 4096));
      require('node:worker_threads').parentPort.postMessage(kept[0]);`;
    const worker = new Worker(script, { eval: true });
    const first = await new Promise<number>((resolve, reject) => {
      worker.on('message', resolve).on('error', reject);
    });
    expect(first).toBe(0);
    await worker.terminate();
    await expect.poll(() => mappingsOf('of-a-thread')).toBe(0);
    addon.closeFd(fd);
  });

  test('that cannot be are refused', () => {
    const eventfd = addon.eventfdCreate();
    const failed = expect.objectContaining({ code: 'SYSTEM' });
    expect(() => addon.mapFile(eventfd, 4096)).toThrow(failed);
    const tooLong = expect.objectContaining({ code: 'BAD_OPTION' });
    expect(() => addon.mapFile(eventfd, 2 ** 32 + 4096)).toThrow(tooLong);
    addon.closeFd(eventfd);
  });
});

describe('argument checks', () => {
  // The calls are wrong on purpose, which their types would not allow.
  const any = addon as unknown as Record<string, (...values: unknown[]) => PeerCredentials>;
  test.each([
    ['closeFd', ['1'], 'closeFd: fd must be a file descriptor'],
    ['closeFd', [1.5], 'closeFd: fd must be a file descriptor'],
    ['closeFd', [-1], 'closeFd: fd must be a file descriptor'],
    ['watchReadable', [0], 'watchReadable: takes 2 arguments, not 1'],
    ['watchReadable', [0, 0], 'watchReadable: callback must be a function'],
    ['memfdCreate', ['a\0b', 1], 'memfdCreate: name must be a string without NUL'],
    ['memfdCreate', ['a', 0], 'memfdCreate: sizeBytes must be an integer from 1 to'],
    ['mapFile', [0, 0], 'mapFile: sizeBytes must be an integer from 1 to'],
    ['mapFile', [-1, 1], 'mapFile: fd must be a file descriptor'],
    ['unmapFile', [new Uint8Array(1)], 'unmapFile: buffer must be an ArrayBuffer'],
    ['datagramReceive', [0, 'x'], 'datagramReceive: into must be a Uint8Array'],
    ['datagramSend', [0, 7, new Uint8Array(1)], 'datagramSend: path must be a string'],
    ['datagramSend', [0, '', new Uint8Array(1)], 'the socket path is empty'],
    ['socketListen', [0, 0], 'socketListen: backlog must be an integer from 1 to 4096'],
    ['socketReceive', [0, 'x'], 'socketReceive: into must be a Uint8Array'],
    ['socketReceive', [0, new Uint8Array(0)], 'socketReceive: into must be of one byte or more'],
    ['socketSend', [0, new Uint8Array(1), 5], 'socketSend: fds must be an array of at most 253'],
    ['socketSend', [0, new Uint8Array(1), ['x']], 'socketSend: fds must be an array'],
    ['socketConnect', [7], 'socketConnect: path must be a string'],
    ['groupId', [7], 'groupId: name must be a string'],
  ])('%s(%j) is refused', (name, values, message) => {
    expect(() => any[name]!(...values)).toThrow(
      expect.objectContaining({
        name: 'TsvswitchError',
        code: 'BAD_OPTION',
        message: expect.stringContaining(message),
      }),
    );
  });
});
