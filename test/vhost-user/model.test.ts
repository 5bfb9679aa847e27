/**
 * Any sequence of requests against a real port, over its socket and with its data plane, held
 * against a model of what a frontend is to be told.
 *
 * Each request must be answered as the model says, and the session go on or end; afterwards every
 * fd and mapping must be gone. The guest's memory is all zeros, in which a ring that runs finds
 * nothing to do.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import {
  encodeMessage,
  headerFlags,
  requestNumbers,
  u64Layout,
} from '../../src/vhost-user/message.ts';
import { generousPort, SwitchNetwork } from '../support/network.ts';
import { ProbingClient } from './probing-client.ts';
import { answered, SessionModel } from './session-model.ts';
import { fileBytes, opening, type Step, start, steps } from './session-steps.ts';

const runs = 250;
const fileName = 'session-model';
let network: SwitchNetwork;
let memoryFd: number;
let sessions = 0;

beforeAll(() => {
  network = SwitchNetwork.open(0);
  network.addPort(generousPort);
  memoryFd = native().memfdCreate(fileName, Number(fileBytes));
});
afterAll(async () => {
  native().closeFd(memoryFd);
  await network.close();
});

const answeredNumbers = new Set(answered.map((name) => requestNumbers[name]) as number[]);
const knownNumbers = new Set(Object.values(requestNumbers) as number[]);

type Spoiling = 'none' | 'longer' | 'another fd';

/** Says one thing and expects what the model does. */
async function say(
  client: ProbingClient,
  model: SessionModel,
  { request, payload, fds, judge }: Step,
  needReply: boolean,
  spoiling: Spoiling,
  dares: boolean,
): Promise<void> {
  // A table of memory may have more bytes than its regions need.
  const isSpoilt =
    spoiling === 'another fd' ||
    (spoiling === 'longer' && request !== requestNumbers.SET_MEM_TABLE);
  const verdict = isSpoilt ? 'refuse' : judge(model);
  if (verdict === undefined || (verdict === 'refuse' && !dares)) return;
  const flags = headerFlags.VERSION | (needReply ? headerFlags.NEED_REPLY : 0);
  const body = spoiling === 'longer' ? new Uint8Array([...payload, 0]) : payload;
  // One more fd than there may be, also for the one request that takes it or leaves it.
  const surplus = spoiling === 'another fd' ? (['eventfd', 'eventfd'] as const) : [];
  const passed = [...fds, ...surplus].map((kind) =>
    kind === 'memory' ? memoryFd : native().eventfdCreate(),
  );
  const replies = await client.exchange(encodeMessage(request, flags, body), passed);
  for (const fd of passed) if (fd !== memoryFd) native().closeFd(fd);

  const isAcked =
    needReply && !answeredNumbers.has(request) && model.has('VHOST_USER_PROTOCOL_F_REPLY_ACK');
  const payloads: Uint8Array[] = [];
  if (typeof verdict === 'object') {
    const { answer } = verdict;
    payloads.push(typeof answer === 'bigint' ? u64Layout.encode(answer) : answer);
  } else if (isAcked) {
    payloads.push(u64Layout.encode(verdict === 'accept' ? 0n : 1n));
  }
  const expected = payloads.map((bytes) => ({ request, flags: 5, payload: [...bytes] }));
  const seen = replies.map((reply) => ({ ...reply, payload: [...reply.payload] }));
  expect(seen.map(({ request, flags, payload }) => ({ request, flags, payload }))).toEqual(
    expected,
  );
  const staysOpen = verdict !== 'refuse' || (isAcked && !knownNumbers.has(request));
  expect(client.isOpen).toBe(staysOpen);
}

/** What this process has open, without the inode numbers of sockets. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).replace(/\[\d+\]/, '');
      } catch {
        return []; // that of the listing itself
      }
    })
    .filter((target) => /^(?:socket|anon_inode|\/memfd)/.test(target))
    .sort();
}

function mappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split(fileName).length - 1;
}

/** One session from its connection to its end. */
async function session(script: (client: ProbingClient, model: SessionModel) => Promise<void>) {
  const client = new ProbingClient(network.path(0));
  try {
    await script(client, new SessionModel());
  } finally {
    client.close();
    sessions++;
    await network.event('frontend-left', sessions);
  }
}

test('every request is answered as the specification has it, and nothing is left behind', {
  timeout: 120_000,
}, async () => {
  const before = openFiles();
  const spoiling = fc.constantFrom<Spoiling[]>(...Array(30).fill('none'), 'longer', 'another fd');
  // What is refused ends a session, so most of that is left out.
  const dares = fc.constantFrom(true, ...Array(19).fill(false));
  const some = fc.oneof(
    { arbitrary: fc.oneof(...steps).map((one) => [one]), weight: 10 },
    { arbitrary: start, weight: 1 },
  );
  const said = fc.tuple(some, fc.boolean(), spoiling, dares);
  const sequences = fc.array(said, { minLength: 1, maxLength: 60, size: 'max' });
  const seen = { refused: 0, rings: 0 };
  await fc.assert(
    fc.asyncProperty(fc.boolean(), sequences, async (opens, sequence) => {
      await session(async (client, model) => {
        for (const each of opens ? opening : [])
          await say(client, model, each, false, 'none', false);
        for (const [some, needReply, spoiled, dared] of sequence) {
          for (const each of some) {
            if (client.isOpen) await say(client, model, each, needReply, spoiled, dared);
          }
          if (model.rings.some(({ started }) => started)) seen.rings++;
        }
        if (!client.isOpen) seen.refused++;
      });
      expect(openFiles()).toEqual(before);
      expect(mappings()).toBe(0);
    }),
    { numRuns: runs },
  );
  // It is worth something only if sequences came as far as running rings, and to their own end.
  expect(seen.rings).toBeGreaterThan(10);
  expect(seen.refused).toBeLessThan(runs);
});
