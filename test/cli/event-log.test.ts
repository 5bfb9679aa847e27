/** What an operator is told about addresses, however many a guest invents. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EventLog } from '../../src/cli/event-log.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const macOf = (number: number) => `52:54:00:00:00:${number.toString(16).padStart(2, '0')}`;

function learn(log: EventLog, port: string, count: number): void {
  for (let i = 0; i < count; i++) log.event({ type: 'mac-learned', port, mac: macOf(i) });
}

test('a flood of addresses is sixteen lines and one with the number of the others', () => {
  const lines: string[] = [];
  const log = new EventLog('info', 'text', (line) => lines.push(line.replace(/^\S+ /, '')));
  learn(log, '01', 200);
  expect(lines).toHaveLength(16);
  expect(lines.at(-1)).toBe('info port 01: learned 52:54:00:00:00:0f');
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(16)).toEqual(['info port 01: learned 184 more addresses within 10 s']);
  learn(log, '01', 1);
  expect(lines.at(-1)).toBe('info port 01: learned 52:54:00:00:00:00');
  vi.advanceTimersByTime(20_000);
  expect(lines).toHaveLength(18);
});

test('a flood at one port hides neither those of another nor addresses that move', () => {
  const lines: string[] = [];
  const log = new EventLog('info', 'json', (line) => lines.push(line));
  learn(log, '01', 200);
  learn(log, '02', 1);
  for (let i = 0; i < 18; i++) {
    log.event({ type: 'mac-moved', port: '01', fromPort: '02', mac: macOf(i) });
  }
  expect(lines).toHaveLength(16 + 1 + 16);
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(33).map((line) => JSON.parse(line))).toMatchObject([
    { level: 'info', event: 'mac-learned', port: '01', count: 184 },
    { level: 'warn', event: 'mac-moved', port: '01', count: 2 },
  ]);
});
