/**
 * The addon's life, for `npm run memcheck`: switches are opened and closed, with workers, ports,
 * guests that come, talk and leave, politely and not, a capture and an impaired link; and handles
 * are used when they are closed, and left open at the end. Whatever is not given back then, or read
 * before it was written or after it was freed, valgrind says. No garbage is collected here, since
 * V8 looks for pointers wherever they might be; test/native/handle-life.test.ts does.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Switch } from '../../dist/index.js';
import { native } from '../../dist/native/addon.js';
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

/** Of a data plane that has one of each; the last call of each handle is refused. */
function openHandles() {
  const dataplane = native().openDataplane({
    ...{ workers: 1, cpus: [], idleUs: 0, manual: true, sandbox: false, fragmentId: 0 },
  });
  const bridge = dataplane.addBridge('blue', 0);
  const port = bridge.addProcessPort('process', () => dataplane.close());
  const ring = bridge.addRingPort('ring', 1, () => {});
  const callFd = native().eventfdCreate();
  const capture = bridge.capture(64, callFd);
  const frame = new Uint8Array(60).fill(2).fill(255, 0, 6);
  port.send(frame, new Uint32Array([60]), 1);
  dataplane.step(1);
  return { dataplane, bridge, port, ring, capture, queue: ring.queue(0), callFd };
}

/** In the order of `names`, which end the one or the other first. */
function closeHandles(names) {
  const { callFd, queue, ...handles } = openHandles();
  for (const name of names) handles[name].close();
  const calls = [
    () => handles.bridge.readFdb(),
    () => handles.port.isDrained(),
    () => handles.ring.set('mtu', { mtuBytes: 68 }),
    () => queue.stop(),
    () => handles.capture.read(new Uint8Array(64)),
    () => handles.dataplane.setPartition([[handles.ring]]),
  ];
  for (const call of calls) {
    try {
      call();
    } catch (error) {
      if (error.code !== 'CLOSED') throw error;
    }
  }
  handles.dataplane.close();
  native().closeFd(callFd);
}

closeHandles(['dataplane']);
closeHandles(['port', 'ring', 'bridge']);
closeHandles(['capture', 'ring', 'dataplane', 'port']);
// Closed by its own listener, in the middle of the events.
openHandles().dataplane.drainEvents();
// Left to the end of the process.
openHandles();
