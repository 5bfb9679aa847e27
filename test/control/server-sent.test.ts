/** GET /v1/events as server-sent events: their form, and what a reader that comes back is given. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import type { EventsLost, Switch, SwitchEvent } from '../../src/index.ts';
import { reading } from './raw-client.ts';
import { serveSwitch } from './served-switch.ts';

let control: string;
let vswitch: Switch;
let close: () => void;

beforeEach(async () => {
  ({ control, vswitch, close } = await serveSwitch());
});

afterEach(() => close());

interface Block {
  readonly id?: string;
  readonly event?: string;
  readonly data?: SwitchEvent | EventsLost;
}

function open(lastEventId?: string): ReturnType<typeof reading> {
  const lines = [
    ...['GET /v1/events HTTP/1.1', 'Host: x', 'Accept: text/event-stream'],
    ...(lastEventId === undefined ? [] : [`Last-Event-ID: ${lastEventId}`]),
  ];
  return reading(control, `${lines.join('\r\n')}\r\n\r\n`);
}

/** The lines between the sizes of HTTP's chunks, as blocks. */
function blocksIn(parts: readonly string[]): Block[] {
  const fields = parts.join('').match(/^(?:id|event|data): .*$/gm) ?? [];
  const blocks: Record<string, unknown>[] = [];
  for (const field of fields) {
    const [, name = '', value = ''] = /^(\w+): (.*)$/.exec(field)!;
    if (name === 'id' || (name === 'event' && !isOpen(blocks.at(-1)))) blocks.push({});
    blocks.at(-1)![name] = name === 'data' ? JSON.parse(value) : value;
  }
  return blocks;
}

/** It has a number, and nothing else yet. */
function isOpen(block: Record<string, unknown> | undefined): boolean {
  return block !== undefined && block.event === undefined;
}

const ports = (blocks: readonly Block[]) =>
  blocks.map(({ data }) => (data?.type === 'listening' ? data.port : data));

const tell = (first: number, count: number) => {
  for (let i = first; i < first + count; i++) {
    vswitch.emit('event', { type: 'listening', port: `${i}`, path: '/x' });
  }
};

test('an event has a number, its type, and its JSON', async () => {
  const { socket, parts } = open();
  await expect.poll(() => parts.join('')).toContain('retry: 1000\n');
  expect(parts.join('')).toMatch(/^content-type: text\/event-stream\r$/m);
  vswitch.emit('event', { type: 'healed' });
  await expect.poll(() => blocksIn(parts)).toHaveLength(1);
  expect(blocksIn(parts)).toEqual([
    { id: expect.stringMatching(/^[0-9a-f]+-0$/), event: 'healed', data: { type: 'healed' } },
  ]);
  socket.destroy();
});

test('who comes back is given what it has missed, and then what happens', async () => {
  const { socket, parts } = open();
  await expect.poll(() => parts.length).toBeGreaterThan(0);
  tell(0, 3);
  await expect.poll(() => blocksIn(parts)).toHaveLength(3);
  const { id } = blocksIn(parts)[1]!;
  socket.destroy();
  await expect.poll(() => socket.closed).toBe(true);
  tell(3, 2);
  const back = open(id);
  await expect.poll(() => ports(blocksIn(back.parts))).toEqual(['2', '3', '4']);
  tell(5, 1);
  await expect.poll(() => ports(blocksIn(back.parts))).toEqual(['2', '3', '4', '5']);
  back.socket.destroy();
});

test('what is not known any more is counted, and a number that is none harms nobody', async () => {
  const { socket, parts } = open();
  await expect.poll(() => parts.length).toBeGreaterThan(0);
  tell(0, 1);
  await expect.poll(() => blocksIn(parts)).toHaveLength(1);
  const { id } = blocksIn(parts)[0]!;
  tell(1, 2000);
  const back = open(id);
  await expect.poll(() => blocksIn(back.parts)).toHaveLength(1025);
  const [gap, first] = blocksIn(back.parts);
  expect(gap).toEqual({ event: 'events-lost', data: { type: 'events-lost', count: 2000 - 1024 } });
  expect(first!.data).toMatchObject({ port: '977' });
  for (const strange of ['0abc-5', 'nonsense', `${id}0000000000000`]) {
    const other = open(strange);
    await expect.poll(() => other.parts.join('')).toContain('retry: 1000\n');
    other.socket.destroy();
  }
  for (const one of [socket, back.socket]) one.destroy();
});
