/**
 * `connect` of tsvswitch/control: every operation has its method, typed by the table that server
 * and openapi.json have, and what is refused is a fault with its parameters.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import {
  type ConfigStatus,
  type ControlClient,
  ControlServer,
  connect,
  type PortStatus,
  RefusedError,
  type SwitchProcess,
} from '../../src/control/index.ts';
import { type OperationId, operations } from '../../src/control/operations.ts';
import type { Operations } from '../../src/control/protocol.ts';
import { Switch } from '../../src/index.ts';
import { told } from '../../src/model/faults/table.ts';
import { misfitsOfAnswer } from './documented.ts';

let folder: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;
/** Of a switch that no file declares. */
let bare: ControlClient;
let bareServer: ControlServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'connect-'));
  vswitch = Switch.open();
  vswitch.addPort({ path: join(folder, 'a.sock'), name: 'a', bridge: 'blue' });
  const path = join(folder, 'control');
  const file = { file: '/switch.yaml', settings: vswitch.settings };
  const reload = async () => ({ changes: [], restart: ['sandbox'] });
  const run = async () => ({ version: '2', from: '1', pid: 1, sessions: 0, pauseMs: 0.5 });
  const upgrade = { run, end: () => {} };
  // As the process does, which then is no more.
  const process: SwitchProcess = { logLevel: 'info', stop: () => server.close() };
  server = ControlServer.listen(vswitch, { path, declared: { ...file, reload }, upgrade, process });
  client = await connect(path);
  bareServer = ControlServer.listen(vswitch, { path: join(folder, 'bare') });
  bare = await connect(join(folder, 'bare'));
});

afterEach(() => {
  client.close();
  bare.close();
  bareServer.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

type Answer<Id extends OperationId> = Operations[Id] extends { answer: infer Value }
  ? Value
  : unknown;

/** The first of what goes on. */
async function firstOf(stream: AsyncIterable<unknown>, act: () => void): Promise<unknown> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = iterator.next();
  await expect.poll(() => vswitch.listenerCount('event')).toBeGreaterThan(2);
  act();
  const { value } = await first;
  await iterator.return?.(undefined);
  return value;
}

async function headOfCapture(port?: string): Promise<unknown> {
  const stop = new AbortController();
  const capture = await client.capture(port, stop.signal);
  stop.abort();
  const chunks: Buffer[] = [];
  for await (const chunk of capture) chunks.push(chunk);
  return Buffer.concat(chunks).readUInt32LE();
}

/** A row an operation, or it does not compile. */
const calls: { readonly [Id in OperationId]: () => Promise<Answer<Id>> } = {
  getStatus: () => client.status(),
  listPorts: () => client.ports(),
  addPort: () => client.addPort({ path: join(folder, 'b.sock') }),
  getPort: () => client.port('a'),
  removePort: () => client.removePort('a') as Promise<undefined>,
  listBridges: () => client.bridges(),
  getBridge: () => client.bridge('blue'),
  flushBridge: () => client.flush('blue') as Promise<undefined>,
  listAddresses: () => client.fdb(),
  listFlows: () => client.flows(),
  listWorkers: () => client.workers(),
  addWorker: () => client.addWorker(),
  getSettings: () => client.settings(),
  applySettings: () => client.apply({ workers: 2 }),
  getConfig: () => client.config(),
  reload: () => client.reload({ discard: true }),
  upgrade: () => client.upgrade(),
  stop: () => client.stop(),
  getLog: () => client.log(),
  setLog: () => client.setLog({ level: 'debug' }),
  changeNetwork: () => client.change({ heal: true }) as Promise<undefined>,
  readEvents: () => firstOf(client.events(), () => vswitch.heal()),
  captureBridge: () => headOfCapture(),
  capturePort: () => headOfCapture('a'),
  getOpenApi: () => client.openApi(),
};

describe('an operation has its method, and is answered as documented:', () => {
  test.each(Object.keys(operations) as OperationId[])('%s', async (id) => {
    const answer = await calls[id]();
    if (id === 'readEvents') expect(answer).toMatchObject({ type: 'healed' });
    // Of a section header, which every pcapng file begins with.
    else if (id.startsWith('capture')) expect(answer).toBe(0x0a0d0d0a);
    else {
      const { method, path, status } = operations[id];
      const text = answer === undefined ? '' : JSON.stringify(answer);
      expect(misfitsOfAnswer(method, path.replace('{name}', 'a'), { status, text })).toEqual([]);
      expect(text === '').toBe(status === 204);
    }
  });
});

test('what it takes and gives has types', () => {
  expectTypeOf(client.ports).returns.resolves.toEqualTypeOf<readonly PortStatus[]>();
  expectTypeOf(client.config).returns.resolves.toEqualTypeOf<ConfigStatus>();
  expectTypeOf(client.addPort).parameter(0).toEqualTypeOf<Operations['addPort']['body']>();
  // @ts-expect-error: there is no such key.
  expectTypeOf(() => client.addPort({ path: '/x', banana: 1 })).toBeFunction();
});

describe('what is refused is an error with its fault:', () => {
  test.each<[string, () => Promise<unknown>, string, string]>([
    ['a port that is not there', () => client.port('x'), 'NO_SUCH_PORT', 'port-unknown-of'],
    ['a bridge that is not there', () => client.bridge('x'), 'NO_SUCH_BRIDGE', 'bridge-unknown-of'],
    [
      'a socket that is a port already',
      () => client.addPort({ path: join(folder, 'a.sock'), name: 'c' }),
      'SOCKET_DUPLICATE',
      'socket-twice',
    ],
    [
      'a folder that is not there',
      () => client.addPort({ path: join(folder, 'no', 'a.sock') }),
      'SOCKET_FOLDER_MISSING',
      'socket-folder-missing',
    ],
    ['a file that no switch has', () => bare.config(), 'CONFIG_NONE', 'config-none'],
  ])('%s', async (_, ask, code, fault) => {
    const error: unknown = await ask().catch((refused) => refused);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ code, fault, parameters: expect.any(Object), findings: [] });
    const { message, parameters } = error as RefusedError & { parameters: never };
    // The sentence is made of the parameters, here as in the switch.
    expect(told(fault as 'port-unknown', parameters).sentence).toBe(message);
  });

  test('a field that does not fit, with the path to it', async () => {
    const change = { link: { from: 'a', to: 'a' }, impairment: { loss: 2 } };
    await expect(client.change(change)).rejects.toMatchObject({
      code: 'BAD_OPTION',
      findings: [{ path: ['impairment', 'loss'], part: 'value' }],
    });
  });
});
