/**
 * Switches come and go: hundreds in one process, some in worker threads, and none keeps anything.
 * The built package runs here in processes of its own, so that nothing of the test runner counts.
 */

import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const packageUrl = new URL('../../dist/index.js', import.meta.url).href;

/** For modules: one that was joined is listed until the kernel is done with it. */
const counting = `
  import { readdirSync, readFileSync } from 'node:fs';
  function workerThreads() {
    return readdirSync('/proc/self/task').filter((id) => {
      try {
        return readFileSync('/proc/self/task/' + id + '/comm', 'utf8') === 'tsvswitch-work\\n';
      } catch {
        return false;
      }
    }).length;
  }`;

/** Runs a module in a process of its own; `dist` is where the package is. */
async function run(code: string, nodeOptions: readonly string[] = []): Promise<string> {
  const source = `import { Switch } from ${JSON.stringify(packageUrl)};\n${counting}\n${code}`;
  const argv = [...nodeOptions, '--input-type=module', '-e', source];
  const { stdout } = await execa(process.execPath, argv, { timeout: 110_000 });
  return stdout;
}

beforeAll(async () => {
  await execa('tsc', ['-p', root], { preferLocal: true });
}, 300_000);

test('500 switches opened and closed leave no fd, no thread and no memory behind', async () => {
  const report = await run(
    `
    import { setImmediate, setTimeout } from 'node:timers/promises';
    const frame = new Uint8Array(60).fill(2).fill(255, 0, 6);
    async function openAndClose(count) {
      for (let i = 0; i < count; i++) {
        const vswitch = Switch.open();
        const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b', bridge: 'b' })];
        vswitch.addPort({ path: '/tmp/lifetime-' + process.pid + '.sock' });
        a.send(frame);
        await a.flush();
        vswitch.close();
        if (i % 20 === 0) { await setImmediate(); gc(); await setImmediate(); }
      }
    }
    async function sizes() {
      for (let i = 0; i < 5; i++) { gc(); await setImmediate(); }
      while (workerThreads() !== 0) await setTimeout(1);
      return {
        fds: readdirSync('/proc/self/fd').length,
        threads: readdirSync('/proc/self/task').length,
        bytes: process.memoryUsage.rss(),
      };
    }
    await openAndClose(50);
    const before = await sizes();
    await openAndClose(500);
    console.log(JSON.stringify({ before, after: await sizes() }));`,
    ['--expose-gc'],
  );
  const { before, after } = JSON.parse(report);
  expect(after.fds).toBe(before.fds);
  expect(after.threads).toBe(before.threads);
  // A leak of one page a switch would be 2 MB; the heap moves by more than that by itself.
  expect(after.bytes - before.bytes).toBeLessThan(24 << 20);
});

test('a closed switch keeps no process alive, whatever it had', async () => {
  const output = await run(`
    const vswitch = Switch.open({ workers: 2, balance: true });
    vswitch.addPort({ process: 'a' }).receive().catch((error) => console.log(error.code));
    vswitch.addPort({ connect: '/nowhere/vm.sock' });
    vswitch.events();
    setImmediate(() => vswitch.close());`);
  expect(output).toBe('CLOSED');
});

test('worker threads have switches of their own, and one that is ended takes its switch along', async () => {
  const output = await run(`
    import { setTimeout } from 'node:timers/promises';
    import { Worker } from 'node:worker_threads';
    const source = \`
      import { parentPort } from 'node:worker_threads';
      import { Switch } from ${JSON.stringify(packageUrl)};
      const vswitch = Switch.open();
      const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
      a.send(new Uint8Array(60).fill(2).fill(255, 0, 6));
      const frames = await b.receive();
      parentPort.postMessage(frames.length);\`;
    const url = new URL('data:text/javascript,' + encodeURIComponent(source));
    const mine = Switch.open();
    const workers = Array.from({ length: 4 }, () => new Worker(url));
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('message', (frames) => { console.log(frames); resolve(); });
    })));
    await Promise.all(workers.map((worker) => worker.terminate()));
    const [a, b] = [mine.addPort({ process: 'a' }), mine.addPort({ process: 'b' })];
    a.send(new Uint8Array(60).fill(2).fill(255, 0, 6));
    console.log((await b.receive()).length);
    while (workerThreads() !== 1) await setTimeout(1);
    console.log('1 thread');
    mine.close();`);
  expect(output.split('\n')).toEqual(['1', '1', '1', '1', '1', '1 thread']);
});

test('a port over datagrams works in a worker thread', async () => {
  const output = await run(`
    import { existsSync, mkdtempSync, rmSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const folder = mkdtempSync('/tmp/dgram-thread-');
    const source = \`
      import { parentPort } from 'node:worker_threads';
      import { Switch } from ${JSON.stringify(packageUrl)};
      const vswitch = Switch.open();
      const [ours, theirs] = ['a', 'b'].map((name) => '\${folder}/' + name);
      const host = vswitch.addPort({ process: 'host' });
      vswitch.addPort({ dgram: ours, peer: theirs });
      const there = vswitch.addPort({ process: 'far', bridge: 'there' });
      vswitch.addPort({ dgram: theirs, peer: ours, bridge: 'there' });
      host.send(new Uint8Array(60).fill(2).fill(255, 0, 6));
      parentPort.postMessage((await there.receive()).length);
      vswitch.close();\`;
    const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
    worker.once('error', (error) => console.log(error.message));
    worker.once('message', (frames) => console.log(frames));
    await new Promise((resolve) => worker.once('exit', resolve));
    rmSync(folder, { recursive: true });`);
  expect(output).toBe('1');
});
