/**
 * What a session of a port asks for (vhost-user/backend.ts), done: on the port in the data plane,
 * and by those of the port's parts that have to know of it.
 *
 * Memory is looked at before it is mapped. Who listens to a queue's eventfds is told before the
 * data plane stops to use them.
 */

import { type NativeRingPort, native } from '../../native/addon.ts';
import type { Backend } from '../../vhost-user/backend.ts';
import type { Session } from '../../vhost-user/session.ts';
import type { ControlQueue } from './control-queue.ts';
import type { HugePages } from './huge-pages.ts';
import type { InBandQueues } from './in-band.ts';
import type { InflightFile } from './inflight-file.ts';
import { refuseForeign, refusePrivate } from './refused-memory.ts';

interface SessionParts {
  readonly port: NativeRingPort;
  readonly control: ControlQueue;
  readonly inBand: InBandQueues;
  readonly inflight: InflightFile;
  readonly hugePages: HugePages;
  /** The process id of the frontend. */
  readonly pid: number;
  /** Asks for nothing before it is there. */
  readonly session: () => Session;
  readonly openChannel: Backend['openChannel'];
}

export function sessionBackend(parts: SessionParts): Backend {
  const { port, control, inBand, inflight, hugePages, pid, session, openChannel } = parts;
  return {
    setMemory(regions) {
      refuseForeign(regions);
      refusePrivate(pid, regions);
      hugePages.clear();
      for (const region of regions) hugePages.added(region);
      port.setMemory(regions);
      control.look();
    },
    addMemoryRegion(region) {
      refuseForeign([region]);
      refusePrivate(pid, [region]);
      hugePages.added(region);
      port.addMemoryRegion(region);
      control.look();
    },
    removeMemoryRegion(region) {
      hugePages.removed(region);
      port.removeMemoryRegion(region);
    },
    setFeatures: (features) => port.setFeatures(features),
    setMtu: (mtuBytes) => port.set('mtu', { mtuBytes }),
    startQueue(queue, start) {
      inBand.starting(queue, start.kickFd);
      port.queue(queue).start(start);
      if (start.controlPairs === undefined) return;
      control.started(queue, start.kickFd, (turn) => session().controlled(turn));
    },
    moveQueue(queue, rings) {
      port.queue(queue).move(rings);
      control.look();
    },
    stopQueue(queue) {
      inBand.stopped(queue);
      control.stopping(queue);
      return port.queue(queue).stop();
    },
    enableQueue: (queue, enabled) => port.queue(queue).enable(enabled),
    setCall(queue, fd) {
      inBand.unwatchCalls(queue);
      port.queue(queue).setCall(fd);
    },
    setErr: (queue, fd) => port.queue(queue).setErr(fd),
    setLog(log) {
      if (log !== undefined) refuseForeign([log]);
      port.setLog(log);
    },
    setLogging: (enabled) => port.setLogging(enabled),
    announce: (mac) => port.announce(mac),
    createEventfd: () => inBand.createKickFd(),
    kick: (queue) => inBand.kick(queue),
    setCallInBand(queue) {
      const fd = native().eventfdCreate();
      port.queue(queue).setCall(fd);
      inBand.watchCalls(queue, fd, () => session().queueCalled(queue));
    },
    openChannel,
    createMemoryFile: (sizeBytes, contents) => inflight.make(sizeBytes, contents),
  };
}
