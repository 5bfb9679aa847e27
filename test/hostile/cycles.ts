/**
 * Machines that connect, negotiate and are killed, thousands of times, each a little further on
 * than the one before: what a process holds, and how large it is, may depend on how many there are
 * and not on how many there were.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { native } from '../../src/native/addon.ts';
import { VhostUserFrontend } from '../../src/testing/index.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { type Backend, type Holdings, holdingsOf } from './stage.ts';

const memoryBytes = 1 << 20;
const queueSize = 256;
const guestBase = 0x1_0000_0000n;
const userBase = 0x7f00_0000_0000n;
const dialsMax = 10_000;
const settleLimitMs = 60_000;
const pollMs = 10;

/** What a machine has done when it is killed, in this order. */
const steps = ['connected', 'negotiated', 'shared its memory', 'started its queues'] as const;

/** A process while nobody is on its port. */
export interface Sample {
  readonly cycles: number;
  readonly holdings: Holdings;
  readonly residentBytes: number;
}

function residentBytesOf(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  return Number(kibibytes) * 1024;
}

/**
 * Goes through `count` machines on the attacked port of a backend; each is answered before it dies.
 */
async function cycle({ paths }: Backend, count: number): Promise<void> {
  // Zeros are empty rings.
  const fd = native().memfdCreate('hostile', memoryBytes);
  const [callFd, kickFd] = [native().eventfdCreate(), native().eventfdCreate()];
  const region = {
    fd,
    guestAddress: guestBase,
    userAddress: userBase,
    sizeBytes: BigInt(memoryBytes),
    mmapOffset: 0n,
  };
  const ringOf = (index: number) => {
    const at = userBase + BigInt(index) * 0x1_0000n;
    const addresses = { desc: at, avail: at + 0x4000n, used: at + 0x8000n };
    return { size: queueSize, base: 0, addresses, callFd, kickFd };
  };
  try {
    for (let i = 0; i < count; i++) {
      const frontend = await dial(paths[0]!);
      const step = i % steps.length;
      const { VIRTIO_F_VERSION_1 } = virtioFeatures;
      const { VHOST_USER_PROTOCOL_F_REPLY_ACK } = protocolFeatures;
      if (step >= 1) await frontend.negotiate(VIRTIO_F_VERSION_1, VHOST_USER_PROTOCOL_F_REPLY_ACK);
      if (step >= 2) await frontend.setMemory([region]);
      if (step >= 3) {
        for (const index of [0, 1]) {
          await frontend.enableRing(index, true);
          await frontend.startRing(index, ringOf(index));
        }
        native().eventfdSignal(kickFd);
      }
      await frontend.ask('GET_FEATURES', emptyLayout, null, u64Layout);
      frontend.close();
    }
  } finally {
    for (const each of [fd, callFd, kickFd]) native().closeFd(each);
  }
}

/** The socket's backlog may be full of machines that are dead already. */
async function dial(path: string): Promise<VhostUserFrontend> {
  for (let attempt = 1; ; attempt++) {
    try {
      return VhostUserFrontend.connect({ path });
    } catch (error) {
      if (attempt === dialsMax) throw error;
    }
    await new Promise(setImmediate);
  }
}

/** As soon as nothing more is held than `idle`, or after a while in any case. */
async function sampleOf({ pid }: Backend, cycles: number, idle?: Holdings): Promise<Sample> {
  const deadlineMs = performance.now() + settleLimitMs;
  let holdings = holdingsOf(pid);
  while (!isDeepStrictEqual(holdings, idle ?? holdings) && performance.now() < deadlineMs) {
    await sleep(pollMs);
    holdings = holdingsOf(pid);
  }
  return { cycles, holdings, residentBytes: residentBytesOf(pid) };
}

/** Wears a backend out with `cycles` machines; as many samples besides the one before the first. */
export async function wear(backend: Backend, cycles: number, samples: number): Promise<Sample[]> {
  const first = await sampleOf(backend, 0);
  const taken = [first];
  for (let i = 1; i <= samples; i++) {
    const until = Math.round((cycles * i) / samples);
    await cycle(backend, until - taken.at(-1)!.cycles);
    taken.push(await sampleOf(backend, until, first.holdings));
  }
  return taken;
}
