/**
 * Frontends that lie: class 21, and of class 9 what a ring without an avail index has instead. Each
 * is something that is said to a backend whose queues run or which knows nothing yet, and what this
 * switch says of it to its operator when it ends the session.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, constants, ftruncateSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TsvswitchError } from '../../../src/model/errors.ts';
import { native } from '../../../src/native/addon.ts';
import type { TestGuest, VhostUserFrontend } from '../../../src/testing/index.ts';
import { protocolFeatures, virtioFeatures } from '../../../src/vhost-user/features.ts';
import {
  headerFlags,
  type Layout,
  memoryTableLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../../src/vhost-user/message.ts';
import { type Format, featuresOf, formats, receiveq, transmitq } from '../raw-queue.ts';
import { type AttackerOptions, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

const provocations = 5;
const page = 4096n;
/** The last page that 64 bits can name. */
const top = 0xffff_ffff_ffff_f000n;

export interface FrontendLie {
  /** 21 unless given. */
  readonly class?: number;
  readonly name: string;
  /** Both unless given. */
  readonly only?: Format;
  /** In the line for the operator, behind the port's name; undefined where the session goes on. */
  readonly said: RegExp | undefined;
  readonly say: (stage: Stage, format: Format) => Promise<void>;
}

/** Opens files, passes them on and closes them, whatever comes of it. */
async function withFds(
  fds: readonly number[],
  pass: (fds: readonly number[]) => Promise<unknown>,
): Promise<void> {
  try {
    await pass(fds);
  } finally {
    for (const fd of fds) native().closeFd(fd);
  }
}

const eventfds = (count: number) => Array.from({ length: count }, () => native().eventfdCreate());
const onePage = () => native().memfdCreate('hostile', Number(page));

/** Says one message and waits for its acknowledgement, if the backend gives any. */
async function message(
  frontend: VhostUserFrontend,
  request: RequestName,
  payload: Uint8Array,
  fds: readonly number[] = [],
): Promise<void> {
  const isAcked = frontend.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK);
  const flags = isAcked ? headerFlags.NEED_REPLY : 0;
  await withFds(fds, (passed) =>
    frontend.request(requestNumbers[request], flags, payload, passed, isAcked),
  );
}

/** A guest whose queues have been seen to run. */
async function served(stage: Stage, format: Format, options?: AttackerOptions): Promise<TestGuest> {
  const guest = await stage.attacker(format, options);
  await stage.hear(guest);
  await stage.reach(guest);
  return guest;
}

/**
 * Makes a backend look at both queues of an attacker, more than once: it may be busy with what was
 * said.
 */
async function provoke(stage: Stage, guest: TestGuest): Promise<void> {
  for (let i = 0; i < provocations; i++) {
    guest.raw.kick(transmitq);
    await stage.peer.send(toAttacker());
    await stage.goOn(2);
  }
}

/** Something said by a guest whose queues run. */
function running(
  name: string,
  said: RegExp,
  say: (guest: TestGuest) => Promise<void> | void,
): FrontendLie {
  return { name, said, say: async (stage, format) => say(await served(stage, format)) };
}

/** One wrong message of such a guest. */
function wrong<T>(
  name: string,
  request: RequestName,
  layout: Layout<T>,
  value: T,
  fds: () => readonly number[] = () => [],
): FrontendLie {
  return running(name, new RegExp(`^${request}\\b`), ({ frontend }) =>
    message(frontend, request, layout.encode(value), fds()),
  );
}

/** A table of regions of one page, each of a file of one page unless other files are given. */
function regions(
  name: string,
  places: readonly (readonly [guestAddress: bigint, userAddress: bigint, mmapOffset: bigint])[],
  files: () => readonly number[] = () => places.map(onePage),
): FrontendLie {
  const table = places.map(([guestAddress, userAddress, mmapOffset]) => {
    return { guestAddress, userAddress, mmapOffset, sizeBytes: page };
  });
  return wrong(name, 'SET_MEM_TABLE', memoryTableLayout, table, files);
}

/** The transmitq's ring at another place. */
function ringAt(
  name: string,
  request: RequestName,
  change: (at: bigint, guest: TestGuest) => bigint,
): FrontendLie {
  return running(name, new RegExp(`^${request}\\b`), async (guest) => {
    const { frontend } = guest;
    const { addresses } = guest.transmitq.driver;
    const desc = change(addresses.desc, guest);
    await frontend.stopRing(transmitq);
    const where = { index: transmitq, flags: 0, log: 0n, ...addresses, desc };
    await frontend.tell('SET_VRING_ADDR', vringAddressesLayout, where);
    const payload = vringFdLayout.encode({ index: transmitq, hasFd: true });
    await message(frontend, 'SET_VRING_KICK', payload, eventfds(1));
  });
}

/** Bytes on the socket of a guest whose queues run. */
function bytes(name: string, said: RegExp, content: Uint8Array): FrontendLie {
  return running(name, said, ({ frontend }) => frontend.sendBytes(content));
}

/** A file of memory for an eventfd. */
function fileFor(request: 'SET_VRING_CALL' | 'SET_VRING_ERR' | 'SET_VRING_KICK'): FrontendLie {
  return running(`${request} with a file`, noEventfd(request, transmitq), ({ frontend }) => {
    const payload = vringFdLayout.encode({ index: transmitq, hasFd: true });
    return message(frontend, request, payload, [onePage()]);
  });
}

const noEventfd = (request: RequestName, queue: number) => {
  const expected = request === 'SET_VRING_CALL' ? 'no eventfd and no stream socket' : 'no eventfd';
  return new RegExp(`^${request} for queue ${queue}: what was passed is ${expected}$`);
};

const header = (request: number, sizeBytes: number, flags: number = headerFlags.VERSION) =>
  new Uint8Array(new Uint32Array([request, flags, sizeBytes]).buffer);

export const frontendLies: readonly FrontendLie[] = [
  bytes('bytes that are no message', /^flags 0x/, new Uint8Array(64).fill(0xaa)),
  bytes(
    'a size beyond all bounds',
    /^request 2: /,
    header(requestNumbers.SET_FEATURES, 2 ** 32 - 1),
  ),
  bytes('a request that does not exist', /999/, header(999, 0)),
  {
    name: 'half a message, and nobody there any more',
    said: /./,
    async say(stage) {
      const frontend = await stage.dial();
      frontend.sendBytes(new Uint8Array([1, 0, 0]));
      frontend.close();
    },
  },
  {
    name: 'a queue that starts before any feature is agreed on',
    said: /^SET_VRING_KICK\b/,
    async say(stage) {
      const payload = vringFdLayout.encode({ index: 0, hasFd: true });
      await message(await stage.dial(), 'SET_VRING_KICK', payload, eventfds(1));
    },
  },
  {
    name: 'a queue that starts without size, place or memory',
    said: /^SET_VRING_KICK\b/,
    async say(stage, format) {
      const frontend = await stage.dial();
      await frontend.negotiate(featuresOf(format), 0n);
      const payload = vringFdLayout.encode({ index: 0, hasFd: true });
      await message(frontend, 'SET_VRING_KICK', payload, eventfds(1));
    },
  },
  running('a payload that is too short', /^SET_FEATURES\b/, ({ frontend }) =>
    message(frontend, 'SET_FEATURES', new Uint8Array(7)),
  ),
  running('a payload that is too long', /^SET_VRING_NUM\b/, ({ frontend }) =>
    message(frontend, 'SET_VRING_NUM', new Uint8Array(4096)),
  ),
  wrong(
    'features that were not offered',
    'SET_FEATURES',
    u64Layout,
    virtioFeatures.VIRTIO_F_VERSION_1 | (1n << 62n),
  ),
  wrong('queue 4294967295', 'SET_VRING_NUM', vringStateLayout, { index: 2 ** 32 - 1, num: 256 }),
  wrong(
    'a queue that nobody set up',
    'SET_VRING_KICK',
    vringFdLayout,
    { index: 255, hasFd: true },
    () => eventfds(1),
  ),
  wrong('an fd that nobody asked for', 'SET_OWNER', u64Layout, 0n, () => eventfds(1)),
  wrong('no fd where one was announced', 'SET_VRING_CALL', vringFdLayout, {
    index: transmitq,
    hasFd: true,
  }),
  wrong(
    'an fd where none was announced',
    'SET_VRING_KICK',
    vringFdLayout,
    { index: transmitq, hasFd: false },
    () => eventfds(1),
  ),
  wrong(
    'three fds for one eventfd',
    'SET_VRING_CALL',
    vringFdLayout,
    { index: 1, hasFd: true },
    () => eventfds(3),
  ),
  regions('a region without a file', [[0n, 0n, 0n]], () => []),
  regions('a region of a file that cannot be mapped', [[0n, 0n, 0n]], () => eventfds(1)),
  regions('two regions at the same guest addresses', [
    [0n, 0n, 0n],
    [0n, 0x10_0000n, 0n],
  ]),
  regions('a region whose guest addresses wrap 64 bits', [[top + 0x800n, 0n, 0n]]),
  regions('a region whose file offset wraps 64 bits', [[0n, 0n, top]]),
  regions('a region behind the end of its file', [[0n, 0n, page]]),
  ringAt('a ring outside all regions', 'SET_VRING_KICK', () => 0x10n),
  ringAt('a ring that ends outside memory', 'SET_VRING_KICK', (_, { memory }) =>
    memory.userAddress(memory.bytes.length - 16),
  ),
  ringAt('a ring at an odd address', 'SET_VRING_ADDR', (at) => at + 1n),
  ringAt('a ring that wraps 64 bits', 'SET_VRING_KICK', () => top),
  {
    ...running('a base beyond the ring', /^SET_VRING_BASE\b/, async (guest) => {
      const { frontend } = guest;
      await frontend.stopRing(transmitq);
      const wrapCounter = 0x8000;
      const payload = vringStateLayout.encode({ index: transmitq, num: wrapCounter | 0x7fff });
      await message(frontend, 'SET_VRING_BASE', payload);
      const kick = vringFdLayout.encode({ index: transmitq, hasFd: true });
      await message(frontend, 'SET_VRING_KICK', kick, eventfds(1));
    }),
    class: 9,
    only: 'packed',
  },
  fileFor('SET_VRING_CALL'),
  fileFor('SET_VRING_ERR'),
  fileFor('SET_VRING_KICK'),
  {
    name: 'a call fd that is a pipe nobody reads any more',
    said: noEventfd('SET_VRING_CALL', receiveq),
    async say(stage, format) {
      const guest = await served(stage, format);
      const payload = vringFdLayout.encode({ index: receiveq, hasFd: true });
      const { reader, writer } = pipe();
      closeSync(reader);
      await message(guest.frontend, 'SET_VRING_CALL', payload, [writer]);
      await provoke(stage, guest);
    },
  },
  {
    name: 'a kick fd that is a pipe nobody writes any more',
    said: noEventfd('SET_VRING_KICK', transmitq),
    async say(stage, format) {
      const guest = await served(stage, format);
      const payload = vringFdLayout.encode({ index: transmitq, hasFd: true });
      const { reader, writer } = pipe();
      closeSync(writer);
      await message(guest.frontend, 'SET_VRING_KICK', payload, [reader]);
      await provoke(stage, guest);
    },
  },
];

export function liesIn(format: Format): FrontendLie[] {
  return frontendLies.filter(({ only = format }) => only === format);
}

/** Both ends of a pipe; Node makes none of its own. */
function pipe(): { reader: number; writer: number } {
  const path = join(tmpdir(), `hostile-${process.pid}.fifo`);
  execFileSync('mkfifo', [path]);
  try {
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return { reader, writer: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) };
  } finally {
    rmSync(path);
  }
}

/** Lies, and gives the backend its turn. */
export async function lie(stage: Stage, format: Format, { say }: FrontendLie): Promise<void> {
  try {
    await say(stage, format);
  } catch (error) {
    if (!(error instanceof TsvswitchError)) throw error;
    // Being refused is what a liar has to expect.
  }
  await stage.goOn(2);
}

/** Who touches memory that is gone. */
export const discoveries = ['a frame for the guest', 'a kick'] as const;

/** The memory under a guest's queues goes; one or the other finds it out. */
export async function truncate(
  stage: Stage,
  format: Format,
  discovery: (typeof discoveries)[number],
): Promise<void> {
  const guest = await served(stage, format, { memory: 'file', receiveBuffers: 8 });
  // From now on nothing here may touch that memory, as a guest does that is called.
  for (const index of [receiveq, transmitq]) {
    const payload = { index, hasFd: false };
    await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, payload);
  }
  ftruncateSync(guest.memory.fd, 0);
  for (let i = 0; i < provocations; i++) {
    if (discovery === 'a kick') guest.raw.kick(transmitq);
    else await stage.peer.send(toAttacker());
    await stage.goOn(2);
  }
}

export const lyingFrontends: readonly Attack[] = formats.flatMap((format): Attack[] => [
  ...liesIn(format).map((each) => ({
    class: each.class ?? 21,
    format,
    name: each.name,
    strike: (stage: Stage) => lie(stage, format, each),
  })),
  ...discoveries.map((discovery) => ({
    class: 21,
    format,
    name: `memory truncated, found out by ${discovery}`,
    strike: (stage: Stage) => truncate(stage, format, discovery),
  })),
]);
