/**
 * How long machines are without frames when the switch is another process: upgraded, or killed and
 * started anew. Two guests in this process, one of which sends a frame each 100 µs.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ControlClient } from '#tsvswitch/control/client.js';
import { TestGuest } from '#tsvswitch/testing/index.js';
import { Children } from '../process.ts';
import { ownTrial } from './harness.ts';
import type { Trial } from './trial.ts';

const command = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
const frame = Buffer.from(`525400000001525400000000${'b5'.repeat(52)}`, 'hex');
const startLimitMs = 10_000;
const sendEveryMs = 0.1;
const steadyMs = 300;
/** As often as QEMU tries with reconnect-ms=10. */
const reconnectMs = 10;

class Stage {
  readonly #children = new Children();
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get control(): string {
    return join(this.#folder, 'control.sock');
  }

  async start() {
    const sockets = ['a', 'b'].flatMap((name) => ['--socket', join(this.#folder, `${name}.sock`)]);
    const logFile = join(this.#folder, `${performance.now()}.log`);
    const line = [command, ...sockets, '--control', this.control];
    const child = this.#children.start(process.execPath, line, { logFile });
    await child.until('a switch', () => child.log.includes('taking requests'), startLimitMs);
    return child;
  }

  async guests(): Promise<[TestGuest, TestGuest]> {
    const connect = (name: string) =>
      TestGuest.connect({ path: join(this.#folder, `${name}.sock`), queueSize: 1024 });
    return [await connect('a'), await connect('b')];
  }
}

/** The longest time without a frame at `to` until `stop` is called; ms. */
function watch(from: TestGuest, to: TestGuest): () => Promise<number> {
  let isOver = false;
  let [lastMs, longestMs] = [performance.now(), 0];
  const sending = (async () => {
    while (!isOver) {
      await from.send(frame);
      const nextMs = performance.now() + sendEveryMs;
      while (performance.now() < nextMs) await new Promise((turn) => setImmediate(turn));
    }
  })();
  const receiving = (async () => {
    while (!isOver) {
      await to.receive();
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - lastMs);
      lastMs = nowMs;
    }
  })();
  return async () => {
    isOver = true;
    await from.send(frame);
    await Promise.all([sending, receiving]);
    return longestMs;
  };
}

async function reconnected(guest: TestGuest): Promise<void> {
  for (;;) {
    try {
      await guest.reconnect();
      return;
    } catch {
      await sleep(reconnectMs);
    }
  }
}

const ms = { unit: 'ms', decimals: 1, better: 'lower' } as const;

const upgrade = ownTrial(
  [
    { ...ms, name: 'upgrade: without frames, as the switch tells' },
    { ...ms, name: 'the same, as a guest sees it' },
  ],
  async (folder) => {
    const stage = new Stage(folder);
    await stage.start();
    const [a, b] = await stage.guests();
    const end = watch(a, b);
    await sleep(steadyMs);
    const client = await ControlClient.connect(stage.control);
    const { pauseMs, pid } = await client.upgrade();
    client.close();
    await sleep(steadyMs);
    const longestMs = await end();
    await a.close();
    await b.close();
    process.kill(pid, 'SIGTERM');
    return [pauseMs, longestMs];
  },
);

const kill = ownTrial(
  [{ ...ms, name: 'kill -9, started anew, guests that reconnect: to the next frame' }],
  async (folder) => {
    const stage = new Stage(folder);
    const child = await stage.start();
    const [a, b] = await stage.guests();
    await a.send(frame);
    await b.receive();
    const killedMs = performance.now();
    process.kill(child.pid, 'SIGKILL');
    const starting = stage.start();
    await Promise.all([reconnected(a), reconnected(b)]);
    await a.send(frame);
    await b.receive();
    const backMs = performance.now() - killedMs;
    const next = await starting;
    await a.close();
    await b.close();
    await next.stop();
    return [backMs];
  },
);

export const pauseTrials: readonly Trial[] = [upgrade, kill];
