/**
 * Linux kernels that are handed the control queue by their frontend, and set their cards up over
 * it: two queue pairs each, a file to and fro over TCP, while a machine of QEMU's pings both.
 */

import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareEngine } from '../../src/tiny/engine.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 120_000;
const fileMiB = 16;
let network: TinyNetwork;

beforeAll(async () => {
  const [uml, qemu] = await Promise.all([prepareEngine('uml', 2), prepareEngine('qemu', 1)]);
  network = await TinyNetwork.create({ machines: 3, engine: uml });
  await network.startSwitch(resolve('dist/cli/main.js'));
  await Promise.all([
    network.boot(1, { queuePairs: 2 }),
    network.boot(2, { queuePairs: 2 }),
    network.boot(3, { engine: qemu }),
  ]);
}, 2 * bootLimitMs);

afterAll(() => network?.close());

function run(number: number, command: string): Promise<string> {
  return network.machines[number - 1]!.shell.check(command, commandLimitMs);
}

test.each([1, 2])(
  'vm%i has agreed on the control queue, and uses two queue pairs',
  async (number) => {
    const agreed = network.switch!.log.filter(
      ({ event, port }) => event === 'features-agreed' && port === `port${number}`,
    );
    expect(agreed.at(-1)!.message).toMatch(/VIRTIO_NET_F_CTRL_VQ.*VIRTIO_NET_F_MQ/);
    const channels = await run(number, 'ethtool -l eth0');
    expect(
      channels
        .match(/Combined:\s+(\d+)/g)!
        .map((line) => line.replaceAll(/\D/g, ''))
        .at(-1),
    ).toBe('2');
  },
);

test('a file passes between them both ways while another machine pings both', {
  timeout: 4 * commandLimitMs,
}, async () => {
  const pings = [1, 2].map(
    (number) => `ping -i 0.2 ${network.address(number)} >/tmp/ping${number}`,
  );
  await run(3, `for n in 1; do ${pings.map((ping) => `${ping} &`).join(' ')} done`);
  for (const [from, to] of [
    [1, 2],
    [2, 1],
  ] as const) {
    await run(from, `dd if=/dev/urandom of=/tmp/sent bs=1M count=${fileMiB} 2>/dev/null`);
    await run(to, "nc -l -p 5000 -e sh -c 'cat >/tmp/got' >/dev/null 2>&1 &");
    await run(to, "timeout 60 sh -c 'until netstat -ltn | grep -q :5000; do sleep 0.1; done'");
    await run(from, `timeout 100 nc ${network.address(to)} 5000 </tmp/sent`);
    const sum = async (number: number, file: string) =>
      (await run(number, `sha256sum <${file}`)).split(' ')[0];
    expect(await sum(to, '/tmp/got')).toBe(await sum(from, '/tmp/sent'));
  }
  for (const number of [1, 2]) {
    await run(
      3,
      `timeout 60 sh -c 'until [ $(grep -c seq= /tmp/ping${number}) -ge 3 ]; do sleep 0.1; done'`,
    );
  }
  await run(3, 'killall -INT ping; sleep 1');
  for (const number of [1, 2]) {
    const lines = (await run(3, `cat /tmp/ping${number}`)).split('\n');
    const seen = lines.flatMap((line) => / seq=(\d+) /.exec(line)?.[1] ?? []).map(Number);
    // None is missing between the first and the last answer.
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, i) => seen[0]! + i));
  }
  expect(network.switch!.messages('ring-broken')).toEqual([]);
});
