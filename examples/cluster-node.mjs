/**
 * A node of a cluster, as a process of its own, which partition.test.ts starts:
 * `fork('cluster-node.mjs', [SOCKET, NAME, NODES])`.
 *
 * Each node says its name to all others ten times a second. Those it has heard of lately and itself
 * make a quorum if they are more than half of the NODES, and the first of them by name is its
 * leader. Whenever that changes it tells the process that started it.
 */

import { parse, TestGuest, udp4 } from 'tsvswitch/testing';

const heartbeatMs = 100;
const silenceMs = 1000;

const [path, name, nodes] = process.argv.slice(2);
if (nodes === undefined || process.send === undefined) {
  console.error('cluster-node.mjs SOCKET NAME NODES is started by partition.test.ts, with fork()');
  process.exit(2);
}
const guest = await TestGuest.connect({ path });
const heardMs = new Map();
let leader;

const heartbeat = udp4({
  ...{ from: `52:54:00:00:00:0${name.at(-1)}`, source: `10.0.0.${name.at(-1)}`, sourcePort: 7000 },
  ...{ to: 'ff:ff:ff:ff:ff:ff', target: '10.0.0.255', targetPort: 7000 },
  payload: name,
});

function electLeader() {
  const recently = performance.now() - silenceMs;
  const others = [...heardMs].filter(([, ms]) => ms > recently).map(([other]) => other);
  const alive = [name, ...others].sort();
  const elected = 2 * alive.length > Number(nodes) ? alive[0] : 'nobody';
  if (elected !== leader) process.send({ name, leader: elected });
  leader = elected;
}

setInterval(() => {
  electLeader();
  void guest.send(heartbeat);
}, heartbeatMs);
process.once('disconnect', () => process.exit());

for await (const frame of guest.frames()) {
  const { udp, payload } = parse(frame);
  if (udp?.targetPort === 7000) heardMs.set(Buffer.from(payload).toString(), performance.now());
}
