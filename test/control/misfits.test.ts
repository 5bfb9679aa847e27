/**
 * Every field of every body, wrong in every way that its schema knows: each is a 400 with the path
 * of that field, and changes nothing.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bodySchemas } from '../../src/control/bodies.ts';
import { operations } from '../../src/control/operations.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';
import { ask } from './raw-client.ts';
import { pointer, type Schema, wrongsIn } from './wrongs.ts';

/** A body of each shape, with every field that it can have. */
const whole: readonly (readonly [keyof typeof operations, string, object])[] = [
  [
    'addPort',
    'addPort.path',
    {
      ...{ path: '/nowhere/a.sock', mode: '600', group: 'no-such-group' },
      ...{ name: 'a', bridge: 'b', allow: ['root', 1], ringReset: true, inBand: true, mtu: 9000 },
      source: { macs: ['52:54:00:00:00:01'], addresses: ['10.0.0.1'] },
    },
  ],
  [
    'addPort',
    'addPort.connect',
    {
      ...{ connect: '/nowhere/a.sock', name: 'a', bridge: 'b', allow: [':root'], ringReset: true },
      ...{ inBand: true, mtu: 9000, source: { macs: [], addresses: ['fd00::/64'] } },
    },
  ],
  [
    'changeNetwork',
    'changeNetwork.link',
    {
      link: { port: 'x', direction: 'toGuest', from: 'x', to: 'y', between: ['x', 'y'] },
      impairment: {
        ...{ blackhole: true, mtuBytes: 1500, rate: { bitsPerSecond: 1000, queueBytes: 1000 } },
        ...{ loss: { turnsBad: 0.1, turnsGood: 0.2, lossWhenBad: 1, lossWhenGood: 0 } },
        ...{ delayMs: 2, jitterMs: 1, duplicate: 0.5, corrupt: 0.5 },
        reorder: { probability: 0.1, lateByMs: 1 },
      },
    },
  ],
  ['changeNetwork', 'changeNetwork.partition', { partition: [['x'], ['y']] }],
  ['changeNetwork', 'changeNetwork.heal', { heal: true }],
  ['addWorker', 'addWorker', { cpu: 0 }],
  ['setLog', 'setLog', { level: 'info' }],
  [
    'applySettings',
    'applySettings',
    {
      ...{ workers: 1, cpus: [0], idleUs: 50, balance: false, ageingSeconds: 300 },
      bridges: { default: { ageingSeconds: 1 } },
      ports: {
        x: {
          ...{ kind: 'process', bridge: 'default', down: true },
          source: { macs: [], addresses: ['10.0.0.1'] },
        },
        a: {
          ...{ kind: 'vhost-user', bridge: 'b', path: '/nowhere/a', connect: '/nowhere/a' },
          source: { macs: ['52:54:00:00:00:01'], addresses: [] },
          ...{ mode: '600', group: 'no-such-group', allow: ['root', 1], mtu: 9000 },
          ...{ ringReset: true, inBand: true, down: true },
        },
        d: {
          ...{ kind: 'dgram', bridge: 'b', path: '/nowhere/d', peer: '/nowhere/e', mode: '600' },
          ...{ source: { macs: [], addresses: [] }, down: false },
        },
      },
      fdb: [{ mac: '52:54:00:00:00:01', port: 'x', bridge: 'b' }],
      links: [
        {
          ...{ from: 'x', to: 'y' },
          impairment: {
            ...{ blackhole: true, mtuBytes: 1500, rate: { bitsPerSecond: 1000, queueBytes: 1000 } },
            ...{ loss: { turnsBad: 0.1, turnsGood: 0.2, lossWhenBad: 1, lossWhenGood: 0 } },
            ...{ delayMs: 2, jitterMs: 1, duplicate: 0.5, corrupt: 0.5 },
            reorder: { probability: 0.1, lateByMs: 1 },
          },
        },
      ],
      partition: [['x'], ['y']],
    },
  ],
];

const document = JSON.parse(readFileSync('openapi.json', 'utf8'));
const { properties: shapes } = bodySchemas.pick!(document) as {
  properties: Record<string, Schema>;
};
const schemas: Record<string, Schema> = {
  ...shapes,
  applySettings: document.paths['/v1/settings'].put.requestBody.content['application/json'].schema,
};

let folder: string;
let control: string;
let vswitch: Switch;
let server: ControlServer;
let changes = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  control = join(folder, 'control');
  vswitch = Switch.open();
  for (const name of ['x', 'y']) vswitch.addPort({ process: name });
  server = ControlServer.listen(vswitch, { path: control });
  vswitch.on('event', () => changes++);
});

afterAll(() => {
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

describe.each(whole)('%s as %s', (id, shape, right) => {
  const { method, path } = operations[id];
  // Without the key that tells its shape it is another one, or none.
  const key = shape.split('.')[1];
  const wrongs = wrongsIn(schemas[shape]!, right).filter(
    ({ path: place, document }) =>
      place !== '' || key === undefined || !isObject(document) || key in document,
  );

  test('knows every field that there is', () => {
    expect(Object.keys(right).sort()).toEqual(Object.keys(schemas[shape]!.properties!).sort());
  });

  test.each(wrongs.map((wrong) => [wrong.path, wrong.document]))(
    'wrong at %s: %j',
    async (place, document) => {
      const before = changes;
      const { settings } = vswitch;
      const { status, text } = await ask(control, method, path, JSON.stringify(document));
      const { code, findings } = JSON.parse(text);
      expect([status, code]).toEqual([
        400,
        expect.stringMatching(/^(CONTROL_BAD_REQUEST|BAD_OPTION)$/),
      ]);
      expect(findings.map(({ path }: { path: string[] }) => pointer(path))).toContain(place);
      expect(changes).toBe(before);
      expect(vswitch.settings).toEqual(settings);
    },
  );

  test.each([
    ['nothing', {}],
    ['a slip', { [`${key}x`]: 1 }],
  ])('is not told from %s', async (_, document) => {
    if (key === undefined) return;
    const { status, text } = await ask(control, method, path, JSON.stringify(document));
    expect(status).toBe(400);
    expect(JSON.parse(text).findings).toHaveLength(1);
  });
});

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
