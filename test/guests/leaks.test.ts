/**
 * A switch as a process of its own that hundreds of machines connect to and leave, politely or not:
 * it ends up with the fds and mappings it began with.
 */

import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';

const cycles = 200;

let folder: string;
let command: Command;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'leaks-'));
  command = await Command.start([join(folder, 'a.sock'), join(folder, 'b.sock')]);
});

afterEach(async () => {
  await command.stop();
  rmSync(folder, { recursive: true });
});

/** What its open fds refer to, without the inode numbers of sockets and pipes. */
function openFiles(): string[] {
  const fds = `/proc/${command.pid}/fd`;
  return readdirSync(fds)
    .map((fd) => readlinkSync(join(fds, fd)).replace(/\[\d+\]/, ''))
    .sort();
}

function guestMappings(): string[] {
  const maps = readFileSync(`/proc/${command.pid}/maps`, 'utf8');
  return maps.split('\n').filter((line) => line.includes('tsvswitch-test-guest'));
}

test(`${cycles} machines that come and go leave no fd and no mapping behind`, {
  timeout: 240_000,
}, async () => {
  const path = join(folder, 'a.sock');
  const other = await TestGuest.connect({ path: join(folder, 'b.sock'), memorySizeBytes: 4 << 20 });
  const before = openFiles();
  expect(guestMappings()).toHaveLength(1);
  for (let cycle = 0; cycle < cycles; cycle++) {
    const guest = await TestGuest.connect({ path, memorySizeBytes: 4 << 20, memoryRegions: 4 });
    if (cycle === 0) {
      // The measure works: it sees what a connected machine costs.
      expect(guestMappings()).toHaveLength(5);
      expect(openFiles().length).toBeGreaterThan(before.length);
    }
    await guest.send(ethernetFrame({ from: macOf(1), to: macOf(2), number: cycle }));
    await guest.flush();
    if (cycle % 2 === 0) await guest.close();
    else guest.disconnect();
  }
  await expect.poll(openFiles).toEqual(before);
  expect(guestMappings()).toHaveLength(1);
  expect(other.receiveq.driver.ring.usedIndex).toBe(cycles);
  other.disconnect();
});
