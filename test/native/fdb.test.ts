/**
 * The forwarding table of a bridge through the addon: entries that are set, what they do to frames,
 * and limits. What the table does with them by itself: native/test/bridge.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type {
  Dataplane,
  FdbPlace,
  NativeBridge,
  NativeProcessPort,
} from '../../src/native/addon.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { openManualDataplane } from '../support/manual-dataplane.ts';

const codeOf = (code: string) => expect.objectContaining({ code });
const mac = (last: number) => Number.parseInt(macOf(last).replaceAll(':', ''), 16);

let dataplane: Dataplane;
let bridge: NativeBridge;
let ports: NativeProcessPort[];
const bytes = new Uint8Array(4096);
const lengths = new Uint32Array(16);

beforeEach(() => {
  dataplane = openManualDataplane();
  bridge = dataplane.addBridge('blue', 10);
  ports = ['a', 'b', 'c'].map((name) => bridge.addProcessPort(name, () => {}));
});
afterEach(() => dataplane.close());

/** Which of the ports a frame goes to that the first one sends. */
function hearersOf(to: number, from = 90): number[] {
  const frame = ethernetFrame({ from: macOf(from), to: macOf(to) });
  ports[0]!.send(frame, new Uint32Array([frame.length]), 1);
  dataplane.step(1);
  return ports.flatMap((port, i) => (port.receive(bytes, lengths) > 0 ? [i] : []));
}
const entries = () =>
  bridge.readFdb().map(({ mac, port, via, flags }) => ({ mac, port: port?.name, via, flags }));

describe('an entry that is set', () => {
  test('says where frames go, and stays when what was learned is forgotten or ages', () => {
    expect(hearersOf(1)).toEqual([1, 2]);
    expect(bridge.setFdbEntry(mac(1), 0, { port: ports[2]!, via: 7, flags: ['static'] })).toBe(
      true,
    );
    expect(hearersOf(1)).toEqual([2]);
    bridge.flushFdb();
    dataplane.advance(20_000_000_000);
    expect(entries()).toEqual([{ mac: mac(1), port: 'c', via: 7, flags: ['static'] }]);
    expect(hearersOf(1)).toEqual([2]);
    expect(bridge.removeFdbEntry(mac(1), 0)).toBe(true);
    expect(bridge.removeFdbEntry(mac(1), 0)).toBe(false);
    expect(hearersOf(1)).toEqual([1, 2]);
  });

  test('at no port ends frames', () => {
    bridge.setFdbEntry(mac(1), 0, { via: 0, flags: ['drop', 'sticky'] });
    expect(hearersOf(1)).toEqual([]);
    expect(entries()).toContainEqual({
      mac: mac(1),
      port: undefined,
      via: 0,
      flags: ['sticky', 'drop'],
    });
  });

  test('goes with its port', () => {
    bridge.setFdbEntry(mac(1), 0, { port: ports[1]!, via: 0, flags: ['static'] });
    ports[1]!.close();
    expect(entries()).toEqual([]);
  });

  const at = (place: object) => () => bridge.setFdbEntry(mac(1), 0, place as FdbPlace);
  test.each<[string, () => unknown]>([
    ['a group address', () => bridge.setFdbEntry(0x010000000000, 0, { via: 0, flags: ['drop'] })],
    ['no address', () => bridge.setFdbEntry(0, 0, { via: 0, flags: ['drop'] })],
    ['a VLAN beyond 12 bits', () => bridge.setFdbEntry(mac(1), 4096, { via: 0, flags: ['drop'] })],
    ['no port', at({ via: 0, flags: ['static'] })],
    ['no flags', at({ via: 0 })],
    ['a flag that there is not', at({ via: 0, flags: ['drop', 'dynamic'] })],
    ['a remote end beyond 16 bits', at({ via: 65_536, flags: ['drop'] })],
    ['what is no port', at({ port: {}, via: 0, flags: [] })],
    ['more than fit', () => bridge.setFdbLimit(2 ** 20 + 1)],
  ])('with %s is BAD_OPTION', (_, call) => {
    expect(call).toThrow(codeOf('BAD_OPTION'));
    expect(entries()).toEqual([]);
  });

  test('at a port of another bridge is BAD_OPTION, and says so', () => {
    const port = dataplane.addBridge('red', 0).addProcessPort('d', () => {});
    expect(() => bridge.setFdbEntry(mac(1), 0, { port, via: 0, flags: [] })).toThrow(
      /port d is not/,
    );
    expect(() => bridge.setFdbLimit(1, port)).toThrow(codeOf('BAD_OPTION'));
  });
});

test("a bridge learns as much as its limit says, and behind a port as much as the port's", () => {
  bridge.setFdbLimit(2);
  for (let from = 10; from < 15; from++) hearersOf(1, from);
  expect(entries()).toHaveLength(2);
  bridge.flushFdb();
  bridge.setFdbLimit(100);
  bridge.setFdbLimit(3, ports[0]);
  for (let from = 10; from < 15; from++) hearersOf(1, from);
  expect(entries()).toHaveLength(3);
  // The port takes its limit along.
  const red = dataplane.addBridge('red', 0);
  for (const port of ports) port.move(red);
  for (let from = 10; from < 15; from++) hearersOf(1, from);
  expect(red.readFdb()).toHaveLength(3);
});
