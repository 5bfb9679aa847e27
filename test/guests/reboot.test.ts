/** A guest that resets itself while the other one talks to it; the switch is never restarted. */

import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TinyNetwork } from '../../src/tiny/network.ts';
import { linuxEngine } from '../support/linux-guests.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 120_000;
let network: TinyNetwork;

beforeAll(async () => {
  network = await TinyNetwork.create({ machines: 2, engine: await linuxEngine(2) });
  await network.startSwitch(resolve('dist/cli/main.js'));
  await Promise.all([network.boot(1), network.boot(2)]);
}, 2 * bootLimitMs);

afterAll(() => network?.close());

/** Replies in a ping's output so far, by sequence number. */
function answered(output: string): number[] {
  return Array.from(output.matchAll(/ seq=(\d+) /g), (match) => Number(match[1]));
}

for (const [rebooting, pinging] of [
  [1, 2],
  [2, 1],
] as const) {
  test(`a ping of vm${pinging} goes on after vm${rebooting} has rebooted`, {
    timeout: 3 * bootLimitMs,
  }, async () => {
    const shell = network.machines[pinging - 1]!.shell;
    const other = network.machines[rebooting - 1]!.shell;
    const log = `/tmp/ping-${rebooting}`;
    /** Returns once that many pings were answered, or fails after a while. */
    const untilAnswered = (count: number) =>
      shell.check(
        `timeout 100 sh -c 'until [ $(grep -c seq= ${log}) -ge ${count} ]; do sleep 0.2; done'`,
        commandLimitMs,
      );
    const seen = async () => answered(await shell.check(`cat ${log}`, commandLimitMs));
    const pidOfSwitch = network.switch!.pid;

    await shell.check(
      `ping -i 0.5 ${network.address(rebooting)} >${log} & echo $! >${log}.pid`,
      commandLimitMs,
    );
    await untilAnswered(2);
    const bootId = () => other.check('cat /proc/sys/kernel/random/boot_id', commandLimitMs);
    const firstBoot = await bootId();
    await other.reboot(bootLimitMs);
    expect(await bootId()).not.toBe(firstBoot);
    const before = await seen();
    // Replies that come only now, on the same ping.
    await untilAnswered(before.length + 5);
    await shell.check(`kill $(cat ${log}.pid)`, commandLimitMs);

    const all = await seen();
    expect(all.length).toBeGreaterThanOrEqual(before.length + 5);
    expect(network.switch!.pid).toBe(pidOfSwitch);
    expect(network.switch!.messages('ring-broken')).toEqual([]);
  });
}
