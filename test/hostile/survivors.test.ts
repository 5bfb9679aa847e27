/**
 * This switch under every attack, judged as any backend is (verdict.ts), with two workers. And the
 * judge itself: what it says of a process that dies, hangs, holds on to files or loses a port. The
 * former is long: the attacks themselves, on one worker, are in the other files here.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { attacks } from './attacks/all.ts';
import { type Attack, classes } from './attacks/attack.ts';
import { formats } from './raw-queue.ts';
import type { Stage } from './stage.ts';
import { tsvswitch } from './targets.ts';
import { isSurvival, Subject } from './verdict.ts';

const numbers = Object.keys(classes).map(Number);

describe('every class of hostile guests and frontends is survived:', { tags: 'long' }, () => {
  const subject = new Subject(tsvswitch(['--workers', '2']));
  afterAll(() => subject.stop());

  test.each(numbers)('class %i', { timeout: 600_000 }, async (number) => {
    const chosen = attacks.filter((attack) => attack.class === number);
    // A packed ring has no avail ring, and a split ring no wrap bits.
    const only = { 10: ['split'], 19: ['packed'] }[number] ?? formats;
    expect(new Set(chosen.map(({ format }) => format))).toEqual(new Set(only));
    for (const attack of chosen) {
      const { kind } = await subject.judge(attack);
      expect({ ...attack, kind }).toMatchObject({
        kind: expect.stringMatching(/^(?:survived|refused)$/),
      });
    }
  });
});

describe('a backend is judged by what can be seen of it:', () => {
  const folder = mkdtempSync(join(tmpdir(), 'judge-'));
  const controlPath = join(folder, 'control');
  // A verdict that something does not happen takes as long as the judge is patient.
  const subject = new Subject(tsvswitch(['--control', controlPath]), 5000);
  afterAll(async () => {
    await subject.stop();
    rmSync(folder, { recursive: true });
  });

  const judge = (strike: (stage: Stage) => Promise<void>) =>
    subject.judge({ class: 0, format: 'split', name: 'none', strike } satisfies Attack);

  async function control(use: (client: ControlClient) => Promise<unknown>): Promise<void> {
    const client = await ControlClient.connect(controlPath);
    await use(client).finally(() => client.close());
  }

  test('survived, if nothing was done to it', async () => {
    expect(await judge(async () => {})).toEqual({ kind: 'survived' });
  });

  test('crashed, with the signal', async () => {
    const verdict = await judge(async ({ backend }) => {
      process.kill(backend.pid, 'SIGKILL');
    });
    expect(verdict).toEqual({ kind: 'crashed', exit: { status: null, signal: 'SIGKILL' } });
    expect(isSurvival(verdict)).toBe(false);
  });

  test('hung, if no frame passes any more', async () => {
    const verdict = await judge(async ({ backend }) => {
      process.kill(backend.pid, 'SIGSTOP');
    });
    expect(verdict).toEqual({ kind: 'hung' });
  });

  test('leaked, if the same again is held on to again', async () => {
    let opened = 0;
    const verdict = await judge(({ backend }) =>
      control((client) => {
        const path = join(dirname(backend.paths[0]!), `${opened++}.sock`);
        return client.addPort({ path });
      }),
    );
    expect(verdict).toEqual({ kind: 'leaked', what: '1 fds' });
    expect(opened).toBe(2);
  });

  test('port dead, if the next machine is not served', async () => {
    const verdict = await judge(() => control((client) => client.removePort('attacked')));
    expect(verdict).toEqual({ kind: 'port dead' });
  });
});
