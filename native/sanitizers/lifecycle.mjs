/**
 * The addon's life, for `npm run memcheck`: switches are opened and closed, with workers, ports,
 * guests that come, talk and leave, politely and not, a capture and an impaired link. Whatever is
 * not given back then, or read before it was written, valgrind says.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Switch } from '../../dist/index.js';
import { arp, TestGuest } from '../../dist/testing/index.js';

const lives = 2;
/** Under valgrind everything takes some fifty times as long. */
const timeoutMs = 120_000;

const folder = mkdtempSync(join(tmpdir(), 'lifecycle-'));
const paths = ['a', 'b'].map((name) => join(folder, `${name}.sock`));
for (let life = 0; life < lives; life++) {
  const vswitch = Switch.open({ workers: 2 });
  for (const path of paths) vswitch.addPort({ path });
  const capture = vswitch.capture({ to: join(folder, 'capture.pcapng') });
  vswitch.impair({ from: 'a', to: 'b' }, { delayMs: 1, duplicate: 0.5 });
  const features = life === 0 ? {} : { features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED'] };
  const [one, other] = await Promise.all(
    paths.map((path) => TestGuest.connect({ path, timeoutMs, ...features })),
  );
  const ip = { senderIp: '10.0.0.1', targetIp: '10.0.0.2' };
  await one.send(arp({ senderMac: '52:54:00:00:00:01', ...ip }));
  await other.receive();
  await other.close();
  one.disconnect();
  await capture.close();
  vswitch.close();
}
rmSync(folder, { recursive: true });
