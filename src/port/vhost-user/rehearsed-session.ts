/**
 * A session of nobody, to be gone on with: what is done for the first time takes longer, and is
 * done here before machines wait for it.
 */

import { native } from '../../native/addon.ts';
import { type LeftSession, storedSessions, unkept } from '../../native/stored-sessions.ts';
import { protocolFeatures, virtioFeatures } from '../../vhost-user/features.ts';
import { type FileRole, snapshotOf } from '../../vhost-user/snapshot.ts';
import { keptText } from './kept-session.ts';

const memoryBytes = 65_536;
const userAddress = 0x1000_0000n;
const ringSize = 16;
const partBytes = 4096n;

/** For the port of this process that connects to `path`; its other end is closed with `close`. */
export function rehearsedSession(path: string): { left: LeftSession; close: () => void } {
  const { socketPair, memfdCreate, eventfdCreate, dupFd, closeFd } = native();
  const region = { guestAddress: 0n, sizeBytes: BigInt(memoryBytes), userAddress, mmapOffset: 0n };
  const ring = (queue: number) => {
    const [desc, avail, used] = [0n, 1n, 2n].map(
      (part) => userAddress + (3n * BigInt(queue) + part) * partBytes,
    ) as [bigint, bigint, bigint];
    const addresses = { desc, avail, used };
    const state = { kind: 'started', size: ringSize, addresses, kick: 'eventfd' } as const;
    return { state, enabled: true, call: 'eventfd', err: 'unsaid' } as const;
  };
  const features =
    virtioFeatures.VIRTIO_F_VERSION_1 | virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;
  const facts = {
    ...{ isOwned: true, isOfQemu: true, features, offeredFeatures: features },
    protocolFeatures: protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK,
    ...{ hasChannel: false, regions: [region], log: undefined, isLogging: false },
    ...{ mtuBytes: undefined, mac: undefined, status: 0n, rings: [ring(0), ring(1)] },
  };
  const bases = new Map([0, 1].map((queue) => [queue, 0]));
  const snapshot = snapshotOf(facts, bases);
  const roles = [...new Set(snapshot.requests.flatMap(({ files }) => files))];
  const fileOf = (role: FileRole) =>
    role.startsWith('memory') ? memfdCreate('tsvswitch-rehearsal', memoryBytes) : eventfdCreate();
  const [ours, theirs] = socketPair();
  const name = `connecting ${path}`;
  const bundle = { text: keptText(name, snapshot), fds: [dupFd(ours), ...roles.map(fileOf)] };
  closeFd(ours);
  return { left: { name, bundle, stored: undefined }, close: () => closeFd(theirs) };
}

/** Has that port go on with it. */
export function storeRehearsal({ name, bundle }: LeftSession): void {
  storedSessions.add(name, { place: unkept.place()!, bundle, isUnsettled: false });
}
