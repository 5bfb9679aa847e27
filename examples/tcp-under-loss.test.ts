/**
 * TCP between two virtual machines over a link that loses every twentieth frame, both ways.
 *
 * One machine serves a file with BusyBox's httpd, the other one fetches it. The switch counts what
 * it has lost; the file arrives whole all the same.
 */

import { test } from 'tsvswitch/testing/vitest';
import { expect } from 'vitest';

test('a file arrives whole though one frame in twenty is lost', {
  timeout: 300_000,
}, async ({ vswitch, lab }) => {
  const machines = await lab({
    server: { addresses: ['192.168.0.1/24'] },
    client: { addresses: ['192.168.0.2/24'] },
  });
  const [server, client] = [machines.machine('server'), machines.machine('client')];
  await server.check('mkdir /tmp/www && head -c 2000000 /dev/urandom >/tmp/www/file');
  await server.check('httpd -h /tmp/www');

  const ports = [`${machines.plan.id}-server`, `${machines.plan.id}-client`] as const;
  vswitch.impair({ between: ports }, { loss: 0.05 });
  await client.check('wget -q -O /tmp/file http://192.168.0.1/file', { limitMs: 240_000 });

  const checksum = async (machine: typeof server, file: string) =>
    (await machine.check(['md5sum', file])).split(' ')[0];
  expect(await checksum(client, '/tmp/file')).toBe(await checksum(server, '/tmp/www/file'));
  for (const port of ports) expect(vswitch.port(port)!.counters.drops.lost).toBeGreaterThan(0);
});
