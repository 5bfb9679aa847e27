/**
 * How long handles live: garbage collection, the end of a thread and that of the process may come
 * in any order. Each program here is a process of its own.
 */

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, test } from 'vitest';

const addonPath = createRequire(import.meta.url).resolve(
  process.env.TSVSWITCH_ADDON ??
    fileURLToPath(new URL('../../build/release/Release/tsvswitch.node', import.meta.url)),
);
/** For programs: everything that a data plane can have, open. */
const prelude = `
  const addon = require(${JSON.stringify(addonPath)});
  const { setImmediate } = require('node:timers/promises');
  function openAll(manual = true) {
    const dataplane = addon.openDataplane(
      { workers: 1, cpus: [], idleUs: 0, manual, sandbox: false, fragmentId: 0 });
    const bridge = dataplane.addBridge('blue', 0);
    const heard = [];
    const port = bridge.addProcessPort('process', (report) => heard.push(report.type));
    const ring = bridge.addRingPort('ring', 2, () => {});
    const capture = bridge.capture(64, addon.eventfdCreate());
    return { dataplane, bridge, port, ring, capture, queue: ring.queue(0), heard };
  }
  const bytes = new Uint8Array(60).fill(2).fill(255, 0, 6);
  const send = (port) => port.send(bytes, new Uint32Array([60]), 1);`;
const run = async (code: string) => {
  const argv = ['--expose-gc', '-e', `${prelude}\n(async () => {${code}})();`];
  const { stdout } = await execa(process.execPath, argv, { timeout: 110_000 });
  return stdout;
};

test('whichever handle is forgotten first, the others go on', async () => {
  const output = await run(`
    let uses = 0;
    function begin(kept) {
      const { dataplane, port, heard, [kept]: handle } = openAll();
      send(port);
      dataplane.step(1);
      return { handle, heard };
    }
    for (let round = 0; round < 10; round++) {
      for (const kept of ['dataplane', 'bridge', 'port', 'ring', 'capture', 'queue']) {
        const { handle, heard } = begin(kept);
        for (let i = 0; i < 2; i++) { gc(); await setImmediate(); }
        switch (kept) {
          case 'dataplane': handle.drainEvents(); if (heard.length === 1) uses++; break;
          case 'bridge': if (handle.readFdb()[0].port.isDrained()) uses++; break;
          case 'port': if (handle.isDrained()) uses++; break;
          case 'ring': if (handle.counters().length > 0) uses++; break;
          case 'capture': if (handle.portWithoutInterface() >= 0) uses++; break;
          case 'queue': if (handle.stop() === 0) uses++; break;
        }
      }
    }
    console.log(uses);`);
  expect(output).toBe('60');
});

test('closed ones are collected, and take nothing along', async () => {
  const output = await run(`
    const { readdirSync } = require('node:fs');
    const closed = [];
    const fds = readdirSync('/proc/self/fd').length;
    const openAndClose = (i) => {
      const { dataplane, bridge, port, ring, capture, queue } = openAll();
      for (const handle of [port, ring, bridge, capture]) if (i % 2 === 0) handle.close();
      dataplane.close();
      closed.push(...[dataplane, bridge, port, ring, capture, queue].map((of) => new WeakRef(of)));
    };
    for (let i = 0; i < 100; i++) openAndClose(i);
    for (let i = 0; i < 5; i++) { gc(); await setImmediate(); }
    // openAll() leaves the eventfd of its capture to its caller.
    console.log(closed.filter((ref) => ref.deref() !== undefined).length,
      readdirSync('/proc/self/fd').length - fds);`);
  expect(output).toBe('0 100');
});

test.each(['', 'process.exit(0);', 'process.exitCode = 0; gc();'])(
  'a process that ends with all of them open ends: %s',
  async (how) => {
    const output = await run(`
      const all = [openAll(), openAll(false)];
      all[0].port.close();
      for (const { port } of all.slice(1)) for (let i = 0; i < 9; i++) send(port);
      console.log('opened');
      ${how}`);
    expect(output).toBe('opened');
  },
);

test('a listener that throws in a later turn is uncaught, and one may close the data plane', async () => {
  const output = await run(`
    const caught = [];
    process.on('uncaughtException', (error) => caught.push(error.message));
    const { dataplane, bridge, port, heard } = openAll(false);
    const failing = ['x', 'y'].map((name) =>
      bridge.addProcessPort(name, () => { throw new Error(name); }));
    const closing = bridge.addProcessPort('z', () => dataplane.close());
    for (const of of [...failing, port]) { send(of); while (!of.isDrained()); bytes[7]++; }
    while (caught.length < 2 || heard.length < 1) await setImmediate();
    send(closing);
    try { for (;;) { closing.isDrained(); await setImmediate(); } }
    catch (error) { console.log(caught.sort().join(), heard.join(), error.message); }`);
  expect(output).toBe('x,y mac-learned switch-closed');
});

test('so does a thread, by itself and by force, and others go on', async () => {
  const output = await run(`
    const { Worker } = require('node:worker_threads');
    const body = ${JSON.stringify(prelude)} + \`
      const all = [openAll(), openAll(false)];
      send(all[1].port);
      require('node:worker_threads').parentPort.postMessage('opened');
      if (require('node:worker_threads').workerData === 'stays') setInterval(() => send(all[1].port), 1);
    \`;
    const mine = openAll();
    for (let i = 0; i < 10; i++) {
      const worker = new Worker(body, { eval: true, workerData: i % 2 === 0 ? 'stays' : 'ends' });
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      await new Promise((resolve) => worker.once('message', resolve));
      if (i % 2 === 0) await worker.terminate();
      await ended;
    }
    send(mine.port);
    mine.dataplane.step(1);
    mine.dataplane.drainEvents();
    console.log(mine.heard.join());
    mine.dataplane.close();`);
  expect(output).toBe('mac-learned');
});
