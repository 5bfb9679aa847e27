/** What happens to a port is told to the listener that it was made with, and to nobody else. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import type {
  Dataplane,
  NativeBridge,
  NativeProcessPort,
  PortReport,
} from '../../src/native/addon.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { openManualDataplane } from '../support/manual-dataplane.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

let dataplane: Dataplane;
let bridge: NativeBridge;
let port: NativeProcessPort;
let reports: { readonly of: string; readonly report: PortReport }[];

function addPort(name: string, act = () => {}): NativeProcessPort {
  return bridge.addProcessPort(name, (report) => {
    reports.push({ of: name, report });
    act();
  });
}

beforeEach(() => {
  reports = [];
  dataplane = openManualDataplane();
  bridge = dataplane.addBridge('blue', 0);
  port = addPort('process');
});
afterEach(() => dataplane.close());

function send(from: NativeProcessPort, mac: number): void {
  const frame = ethernetFrame({ from: macOf(mac), to: macOf(99) });
  expect(from.send(frame, new Uint32Array([frame.length]), 1)).toBe(1);
  dataplane.step(1);
}

const mac = (last: number) => Number.parseInt(macOf(last).replaceAll(':', ''), 16);

test('and names other ports', () => {
  const other = addPort('other');
  send(port, 1);
  send(other, 2);
  send(other, 1);
  dataplane.drainEvents();
  expect(reports).toEqual([
    { of: 'process', report: { type: 'mac-learned', mac: mac(1), vlan: 0 } },
    { of: 'other', report: { type: 'mac-learned', mac: mac(2), vlan: 0 } },
    { of: 'other', report: { type: 'mac-moved', from: 'process', mac: mac(1), vlan: 0 } },
  ]);
  expect(bridge.readFdb().map((entry) => entry.port)).toEqual([other, other]);
});

test('an address that moved from a port which has gone since is new', () => {
  send(port, 1);
  dataplane.drainEvents();
  send(addPort('other'), 1);
  port.close();
  expect(addPort('successor').number).toBe(port.number);
  dataplane.drainEvents();
  expect(reports.at(-1)).toEqual({
    of: 'other',
    report: { type: 'mac-learned', mac: mac(1), vlan: 0 },
  });
});

test('the successor of a port hears nothing of it', () => {
  send(port, 1);
  port.close();
  expect(addPort('successor').number).toBe(port.number);
  dataplane.drainEvents();
  expect(reports).toEqual([]);
});

test('a listener that throws keeps none from the others', () => {
  const failing = ['x', 'y'].map((name) =>
    addPort(name, () => {
      throw new Error(name);
    }),
  );
  for (const [i, of] of [...failing, port].entries()) send(of, i);
  expect(() => dataplane.drainEvents()).toThrow('x');
  expect(reports.map(({ of }) => of)).toEqual(['x', 'y', 'process']);
  dataplane.drainEvents();
  expect(reports).toHaveLength(3);
});

test('a listener may close its port, another one, or the data plane', () => {
  const itself = addPort('itself', () => itself.close());
  const another = addPort('another', () => port.close());
  const all = addPort('all', () => dataplane.close());
  const last = addPort('last');
  for (const [i, of] of [itself, another, port, all, last].entries()) send(of, i);
  dataplane.drainEvents();
  expect(reports.map(({ of }) => of)).toEqual(['itself', 'another', 'all']);
  expect(() => last.isDrained()).toThrow(codeOf('CLOSED'));
});
