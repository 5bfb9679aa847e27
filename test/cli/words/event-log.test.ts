/** What an operator is told, however often a peer makes it happen, and whatever is in a name. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EventLog } from '../../../src/cli/words/event-log.ts';
import type { CloseReason, SwitchEvent } from '../../../src/index.ts';
import { told } from '../../../src/model/faults/table.ts';
import { logLevels } from '../../../src/model/log-levels.ts';
import { ofPort } from '../../../src/port/port.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const macOf = (number: number) => `52:54:00:00:00:${number.toString(16).padStart(2, '0')}`;

function learn(log: EventLog, port: string, count: number): void {
  for (let i = 0; i < count; i++) log.event({ type: 'mac-learned', port, mac: macOf(i) });
}

test('a flood of one kind is ten lines, and the last with the number of the others', () => {
  const lines: string[] = [];
  const log = new EventLog('info', 'text', (line) => lines.push(line.replace(/^\S+ /, '')));
  learn(log, '01', 200);
  expect(lines).toHaveLength(10);
  expect(lines.at(-1)).toBe('info port 01: learned 52:54:00:00:00:09');
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(10)).toEqual([
    'info port 01: learned 52:54:00:00:00:c7; and 189 more like it within 10 s',
  ]);
  learn(log, '01', 1);
  expect(lines.at(-1)).toBe('info port 01: learned 52:54:00:00:00:00');
  vi.advanceTimersByTime(20_000);
  expect(lines).toHaveLength(12);
});

test('a flood at one port hides neither those of another nor addresses that move', () => {
  const lines: string[] = [];
  const log = new EventLog('info', 'json', (line) => lines.push(line));
  learn(log, '01', 200);
  learn(log, '02', 1);
  for (let i = 0; i < 12; i++) {
    log.event({ type: 'mac-moved', port: '01', fromPort: '02', mac: macOf(i) });
  }
  expect(lines).toHaveLength(10 + 1 + 10);
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(21).map((line) => JSON.parse(line))).toMatchObject([
    { level: 'info', event: 'mac-learned', port: '01', mac: macOf(199), count: 190 },
    { level: 'warn', event: 'mac-moved', port: '01', count: 2 },
  ]);
});

test('many sessions that end hide none that failed, and the end of the log none at all', () => {
  const lines: string[] = [];
  const log = new EventLog('info', 'text', (line) => lines.push(line.replace(/^\S+ /, '')));
  const left = (reason: CloseReason) => log.event({ type: 'frontend-left', port: '01', reason });
  for (let i = 0; i < 100; i++) left({ kind: 'frontend-left' });
  const failed = ofPort('01', told('device-failed', { cause: 'no fds' }));
  left({ kind: 'backend-error', ...failed, cause: undefined });
  expect(lines.at(-1)).toBe('error port 01: the switch failed: no fds; session closed');
  log.close();
  expect(lines.at(-1)).toBe('info port 01: the frontend left; and 89 more like it within 10 s');
});

test('how much is told changes at any time', () => {
  const lines: string[] = [];
  const log = new EventLog('warn', 'text', (line) => lines.push(line.replace(/^\S+ /, '')));
  log.line('info', 'a', 'one');
  log.level = 'debug';
  log.line('debug', 'a', 'two');
  log.level = 'error';
  log.line('warn', 'a', 'three');
  expect(lines).toEqual(['debug two']);
});

test('in the journal a line is a sentence with a priority, and JSON is still JSON behind it', () => {
  const lines: string[] = [];
  const inJournal = { isJournal: true };
  const text = new EventLog('debug', 'text', (line) => lines.push(line), inJournal);
  for (const level of logLevels) text.line(level, 'a', `of ${level}\n<0>`);
  expect(lines.splice(0)).toEqual([
    '<3>of error\\u{a}<0>',
    '<4>of warn\\u{a}<0>',
    '<6>of info\\u{a}<0>',
    '<7>of debug\\u{a}<0>',
  ]);
  const json = new EventLog('info', 'json', (line) => lines.push(line), inJournal);
  learn(json, '01', 200);
  vi.advanceTimersByTime(10_000);
  expect(lines).toHaveLength(11);
  for (const line of lines) {
    expect(line.slice(0, 3)).toBe('<6>');
    expect(JSON.parse(line.slice(3))).toMatchObject({ level: 'info', port: '01' });
  }
});

test.each<SwitchEvent>([
  { type: 'frontend-connected', port: '01', pid: 1 },
  { type: 'frontend-refused', port: '01', ...told('port-taken', { pid: 1, present: 2 }) },
  { type: 'request-refused', port: '01', request: 99, ...told('request-unknown') },
  { type: 'frontend-left', port: '01', reason: { kind: 'frontend-left' } },
  { type: 'frontend-left', port: '01', reason: { kind: 'closed-by-owner' } },
  {
    type: 'frontend-left',
    port: '01',
    reason: { kind: 'protocol-error', ...told('payload-below-its-count', { bytes: 1 }) },
  },
  { type: 'features-agreed', port: '01', features: 0n, names: [] } as never,
  { type: 'mtu', port: '01', bytes: 1500 },
  { type: 'logging', port: '01', enabled: true },
  { type: 'ring-broken', port: '01', queue: 0, fault: 'chain-too-long', reason: 'a loop' },
  { type: 'memory-lost', port: '01', ...told('memory-truncated') },
  { type: 'source-spoofed', port: '01', ...told('source-unknown', { source: '0x1' }) },
  { type: 'accept-failed', port: '01', ...told('accept-failed', { cause: 'no fds' }) },
  { type: 'waiting', port: '01', ...told('frontend-awaited', { path: '/1', cause: 'none' }) },
  { type: 'mac-moved', port: '01', fromPort: '02', mac: macOf(1) },
  { type: 'mac-aged', port: '01', mac: macOf(1) },
])('ten thousand times $type is eleven lines', (event) => {
  const lines: string[] = [];
  const log = new EventLog('debug', 'text', (line) => lines.push(line));
  for (let i = 0; i < 10_000; i++) log.event(event);
  log.close();
  expect(lines).toHaveLength(11);
});

test.each<[SwitchEvent, string]>([
  [{ type: 'port-removed', port: '01' }, 'port 01: was removed'],
  [{ type: 'listening', port: '01', path: '/01' }, 'port 01: listening on /01'],
  [
    { type: 'worker-added', worker: { number: 1, cpu: 3, transmitqs: 0 } },
    'worker 1 was added on CPU 3',
  ],
  [
    { type: 'link-impaired', link: { from: 'a', to: 'b' }, impairment: { loss: 0.5 } },
    'link from port a to port b is impaired: {"loss":0.5}',
  ],
  [
    { type: 'link-impaired', link: { port: 'a', direction: 'toGuest' }, impairment: { loss: 1 } },
    'link to the guest of port a is impaired: {"loss":1}',
  ],
  [{ type: 'link-mended', link: { port: 'a' } }, 'link of port a is whole'],
  [
    { type: 'link-mended', link: { between: ['a', 'b'] } },
    'link between port a and port b is whole',
  ],
  [{ type: 'partitioned', sides: [['a', 'b'], ['c']] }, 'the network is parted: a, b | c'],
  [{ type: 'healed' }, 'the network is whole: its partition has ended'],
  [
    {
      type: 'settings-applied',
      changes: [
        { disturbs: 'port', type: 'port-removed', port: 'db' },
        { disturbs: 'nobody', type: 'bridge-added', bridge: 'blue', to: {} },
        { disturbs: 'nobody', type: 'link-changed', link: { from: 'web' } },
        { disturbs: 'nobody', type: 'link-changed', link: { to: 'web' } },
        { disturbs: 'nobody', type: 'link-changed', link: { from: 'web', to: 'db' } },
        { disturbs: 'nobody', type: 'partition-changed', to: [] },
        {
          ...{ disturbs: 'nobody', type: 'workers-changed', keys: ['cpus', 'idleUs'] },
          from: { workers: 1, cpus: [], idleUs: 50, balance: false },
          to: { workers: 1, cpus: [1], idleUs: 0, balance: false },
        },
      ],
    },
    'settings were applied: port db removed, bridge blue added, link from the guest of port web ' +
      'changed, link to the guest of port web changed, link from port web to port db changed, ' +
      'partition changed, workers changed (cpus, idleUs)',
  ],
])('what the operator does is told each time: $type', (event, message) => {
  const lines: string[] = [];
  const log = new EventLog('info', 'text', (line) => lines.push(line.replace(/^\S+ /, '')));
  for (let i = 0; i < 50; i++) log.event(event);
  expect(lines).toEqual(Array(50).fill(`info ${message}`));
});

test('a line is one line, whatever is in a path', () => {
  const path = '/run/a\n12:00:00.000 warn port b: \u2028\u00a0\u202e.sock';
  for (const format of ['text', 'json'] as const) {
    const lines: string[] = [];
    const log = new EventLog('info', format, (line) => lines.push(line));
    log.event({ type: 'listening', port: 'a', path });
    const text = format === 'json' ? JSON.parse(lines[0]!).message : lines[0]!;
    expect(text).toContain(
      'listening on /run/a\\u{a}12:00:00.000 warn port b: \\u{2028}\\u{a0}\\u{202e}.sock',
    );
  }
});
