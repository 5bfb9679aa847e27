/** Workers of a switch that runs: how they are told, added and refused, and what they take over. */

import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type ProcessPort,
  Switch,
  type SwitchOptions,
  type WorkerOptions,
} from '../../src/index.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';

let vswitch: Switch;

beforeEach(() => open());
afterEach(() => vswitch.close());

function open(options: SwitchOptions = {}): void {
  vswitch?.close();
  vswitch = Switch.open(options);
}

/** The CPUs that a thread may use, such as `0-3`. */
function cpusOf(status: string): string {
  return /^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1]!;
}

const ownCpus = cpusOf(readFileSync('/proc/self/status', 'utf8'));
const someCpu = Number.parseInt(ownCpus, 10);

/** The CPUs of each worker's thread, in no particular order. */
function threads(): string[] {
  return readdirSync('/proc/self/task').flatMap((id) => {
    try {
      const status = readFileSync(`/proc/self/task/${id}/status`, 'utf8');
      return status.startsWith('Name:\ttsvswitch-work\n') ? [cpusOf(status)] : [];
    } catch {
      // It has just ended.
      return [];
    }
  });
}

/** Threads that have ended are listed for a moment. */
const expectThreads = (count: number) => expect.poll(threads).toHaveLength(count);

function addPorts(count: number): ProcessPort[] {
  return Array.from({ length: count }, (_, number) =>
    vswitch.addPort({ process: `port${number}` }),
  );
}

const shares = () => vswitch.workers.map(({ transmitqs }) => transmitqs);

describe('workers', () => {
  test('are told with their CPUs and what they poll', () => {
    open({ workers: 2, cpus: [someCpu] });
    addPorts(3);
    expect(vswitch.workers).toEqual([
      { number: 0, cpu: someCpu, transmitqs: 2 },
      { number: 1, transmitqs: 1 },
    ]);
  });

  test('that are added are threads, on the CPU that was asked for, until the end', async () => {
    await expectThreads(1);
    const added = vswitch.addWorker({ cpu: someCpu });
    expect(added).toEqual({ number: 1, cpu: someCpu, transmitqs: 0 });
    expect(vswitch.addWorker()).toEqual({ number: 2, transmitqs: 0 });
    expect(threads().toSorted()).toEqual([ownCpus, ownCpus, `${someCpu}`].toSorted());
    vswitch.close();
    await expectThreads(0);
  });

  test('that are added take their share of the queues at once, and ports come to them later', () => {
    addPorts(4);
    expect(vswitch.addWorker().transmitqs).toBe(2);
    expect(shares()).toEqual([2, 2]);
    expect(vswitch.addWorker().transmitqs).toBe(1);
    vswitch.addPort({ process: 'another' });
    vswitch.addPort({ process: 'the last' });
    expect(shares()).toEqual([2, 2, 2]);
  });

  test('that are added while frames are sent lose, repeat and reorder none', async () => {
    const [to, ...senders] = addPorts(4) as [ProcessPort, ...ProcessPort[]];
    const received = senders.map((): number[] => []);
    let number = 0;
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 20; i++, number++) {
        for (const [from, port] of senders.entries()) {
          expect(port.send(frameBetween(1 + from, 0, number))).toBe(1);
        }
        if (i === 10 && round % 2 === 0) vswitch.addWorker();
      }
      while (received.some((numbers) => numbers.length < number)) {
        for (const frame of await to.receive()) received[frame[11]! - 1]!.push(numberOf(frame));
      }
    }
    expect(vswitch.workers).toHaveLength(5);
    for (const numbers of received)
      expect(numbers).toEqual(Array.from({ length: number }, (_, i) => i));
  });

  test('that are added are balanced with the others', async () => {
    open({ balance: true });
    const ports = addPorts(4);
    vswitch.addWorker();
    expect(shares()).toEqual([2, 2]);
    // Those two stay with the first worker, which then does everything.
    const busy = ports.slice(0, 2);
    const pump = async () => {
      for (const [from, port] of busy.entries()) port.send(frameBetween(from, 3));
      await Promise.all(busy.map((port) => port.flush()));
      for (const port of ports) port.take();
      return shares();
    };
    await expect.poll(pump, { timeout: 60_000, interval: 1 }).toEqual([1, 3]);
  });
});

describe('a worker is refused', () => {
  test.each<[string, unknown, RegExp]>([
    ['on half a CPU', { cpu: 0.5 }, /cpu: 0.5 is not an integer from 0 to 1023/],
    ['on a CPU beyond all machines', { cpu: 1024 }, /cpu: 1024 is not/],
    ['on a CPU by name', { cpu: '1' }, /cpu: 1 is not/],
    ['with what no worker has', { cpus: [1] }, /worker: there is no cpus; did you mean cpu\?/],
    ['that is no object', 1, /worker: 1 is not an object with cpu/],
    ['that is null', null, /worker: null is not an object with cpu/],
  ])('%s', async (_, options, sentence) => {
    expect(() => vswitch.addWorker(options as WorkerOptions)).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION', message: expect.stringMatching(sentence) }),
    );
    await expectThreads(1);
  });

  test('on a CPU that has one already, which is named', () => {
    vswitch.addWorker({ cpu: someCpu });
    expect(() => vswitch.addWorker({ cpu: someCpu })).toThrow(
      expect.objectContaining({
        code: 'BAD_OPTION',
        message: expect.stringMatching(`^cpu: worker 1 is pinned to CPU ${someCpu} already; `),
      }),
    );
    expect(vswitch.workers).toHaveLength(2);
  });

  test('on a CPU that is not there, and the others go on', async () => {
    const sentence = /CPU 1000 \(allowed are \d[\d,-]*\)/;
    expect(() => vswitch.addWorker({ cpu: 1000 })).toThrow(
      expect.objectContaining({ code: 'SYSTEM', message: expect.stringMatching(sentence) }),
    );
    expect(vswitch.workers).toEqual([{ number: 0, transmitqs: 0 }]);
    await expectThreads(1);
    const [from, to] = addPorts(2) as [ProcessPort, ProcessPort];
    from.send(frameBetween(0, 1, 7));
    expect(numberOf((await to.receive())[0]!)).toBe(7);
  });

  test('where there are 64', async () => {
    open({ workers: 63 });
    vswitch.addWorker();
    expect(() => vswitch.addWorker()).toThrow(
      expect.objectContaining({ code: 'TOO_MANY_WORKERS' }),
    );
    await expectThreads(64);
  });

  test('on a switch that is closed, or whose clock is manual', () => {
    vswitch.close();
    expect(() => vswitch.addWorker()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    open({ clock: 'manual' });
    expect(() => vswitch.addWorker()).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(vswitch.workers).toHaveLength(1);
  });
});
