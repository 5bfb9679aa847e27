/**
 * Handles that are misused: closed ones, those of another switch, things that are none, and getters
 * that close what they are read for. Each call throws a code, does nothing and keeps no fd.
 */

import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Dataplane,
  type LinkSettings,
  type NativeBridge,
  type NativePort,
  type NativeProcessPort,
  type NativeRingPort,
  native,
} from '../../src/native/addon.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { openManualDataplane } from '../support/manual-dataplane.ts';

const codeOf = (code: string) => expect.objectContaining({ code });
const addon = native();
const bytes = new Uint8Array(2048);
const lengths = new Uint32Array(16);

let dataplane: Dataplane;
let bridge: NativeBridge;
let ring: NativeRingPort;
let port: NativeProcessPort;
let callFd: number;

function open(): Dataplane {
  return openManualDataplane();
}

function addPort(on: NativeBridge, name: string): NativeProcessPort {
  return on.addProcessPort(name, () => {});
}

beforeEach(() => {
  callFd = addon.eventfdCreate();
  dataplane = open();
  bridge = dataplane.addBridge('blue', 0);
  ring = bridge.addRingPort('ring', 2, () => {});
  port = addPort(bridge, 'process');
});
afterEach(() => {
  dataplane.close();
  addon.closeFd(callFd);
});

function send(from: NativeProcessPort, mac: number): void {
  const frame = ethernetFrame({ from: macOf(mac), to: macOf(99) });
  bytes.set(frame);
  lengths[0] = frame.length;
  expect(from.send(bytes, lengths, 1)).toBe(1);
  dataplane.step(1);
}

const region = { guestAddress: 0n, sizeBytes: 4096n, userAddress: 0n, mmapOffset: 0n };
const rings = { desc: 0n, avail: 4096n, used: 8192n };
const link: LinkSettings = {
  seed: 0n,
  blackhole: true,
  frameBytesMax: 0,
  bitsPerSecond: 0,
  queueBytes: 0,
  turnsBad: 0,
  turnsGood: 0,
  lossGood: 0,
  lossBad: 0,
  delayNs: 0,
  jitterNs: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  reorderNs: 0,
};

/** Every call of a handle but close(), in words that are right; fds are made anew for each. */
function everyCall(): Record<string, () => unknown> {
  const [first, other] = [ring.queue(0), port.queue(1)];
  const capture = bridge.capture(64, callFd);
  const fd = () => addon.eventfdCreate();
  return {
    'bridge.addRingPort': () => bridge.addRingPort('x', 1, () => {}),
    'bridge.addProcessPort': () => bridge.addProcessPort('x', () => {}),
    'bridge.capture': () => bridge.capture(64, callFd),
    'bridge.readFdb': () => bridge.readFdb(),
    'bridge.flushFdb': () => bridge.flushFdb(),
    'bridge.setFdbEntry': () => bridge.setFdbEntry(2, 0, { port, via: 0, flags: ['static'] }),
    'bridge.removeFdbEntry': () => bridge.removeFdbEntry(2, 0),
    'bridge.setFdbLimit': () => bridge.setFdbLimit(1),
    'bridge.setAgeing': () => bridge.setAgeing(1),
    'ring.set': () => ring.set('mtu', { mtuBytes: 1500 }),
    'ring.move': () => ring.move(bridge),
    'ring.queue': () => ring.queue(0),
    'ring.counters': () => ring.counters(),
    'ring.capture': () => ring.capture(64, callFd),
    'ring.setMemory': () => ring.setMemory([{ ...region, fd: fd() }]),
    'ring.addMemoryRegion': () => ring.addMemoryRegion({ ...region, fd: fd() }),
    'ring.removeMemoryRegion': () => ring.removeMemoryRegion(region),
    'ring.setFeatures': () => ring.setFeatures(0n),
    'ring.setLog': () => ring.setLog({ fd: fd(), sizeBytes: 4096n, offsetBytes: 0n }),
    'ring.setLogging': () => ring.setLogging(true),
    'ring.announce': () => ring.announce(1),
    'ring.endSession': () => ring.endSession(),
    'queue.start': () => first.start({ ...rings, size: 8, base: 0, kickFd: fd() }),
    'queue.move': () => first.move(rings),
    'queue.stop': () => first.stop(),
    'queue.enable': () => first.enable(true),
    'queue.read': () => first.read(),
    'queue.serveControl': () => first.serveControl(1),
    'queue.setCall': () => first.setCall(fd()),
    'queue.setErr': () => first.setErr(fd()),
    'queue.worker': () => first.worker(),
    'queue.assign': () => first.assign(0),
    'port.set': () => port.set('sources', undefined),
    'port.move': () => port.move(bridge),
    'port.queue': () => port.queue(1),
    'port.counters': () => port.counters(),
    'port.capture': () => port.capture(64, callFd),
    'port.send': () => port.send(bytes, lengths, 0),
    'port.receive': () => port.receive(bytes, lengths),
    'port.isDrained': () => port.isDrained(),
    'processQueue.setCall': () => other.setCall(fd()),
    'processQueue.requestCall': () => other.requestCall(),
    'processQueue.worker': () => other.worker(),
    'processQueue.assign': () => other.assign(0),
    'capture.read': () => capture.read(bytes),
    'capture.portWithoutInterface': () => capture.portWithoutInterface(),
    'capture.setInterface': () => capture.setInterface(0, 0),
    'capture.forgetInterfaces': () => capture.forgetInterfaces(),
    'capture.requestCall': () => capture.requestCall(),
    'capture.lost': () => capture.lost(),
    'dataplane.addBridge': () => dataplane.addBridge('x', 0),
    'dataplane.setPartition': () => dataplane.setPartition([]),
    'dataplane.addWorker': () => dataplane.addWorker(-1),
    'dataplane.removeWorker': () => dataplane.removeWorker(),
    'dataplane.pinWorker': () => dataplane.pinWorker(0, -1),
    'dataplane.setIdle': () => dataplane.setIdle(0),
    'dataplane.step': () => dataplane.step(1),
    'dataplane.advance': () => dataplane.advance(1),
  };
}

/** That each call of these handles throws CLOSED and leaves no fd open; how many there were. */
function expectClosed(calls: Record<string, () => unknown>, of: RegExp): number {
  const closed = Object.entries(calls).filter(([name]) => of.test(name));
  const fds = readdirSync('/proc/self/fd').length;
  for (const [name, call] of closed) expect(call, name).toThrow(codeOf('CLOSED'));
  expect(readdirSync('/proc/self/fd')).toHaveLength(fds);
  return closed.length;
}

describe('a handle that is closed throws CLOSED and keeps no fd', () => {
  test('a port, and its queues with it; the others go on', () => {
    const calls = everyCall();
    ring.close();
    expect(expectClosed(calls, /^(ring|queue)\./)).toBe(23);
    expect([ring.name, ring.number]).toEqual(['ring', 0]);
    port.close();
    expect(expectClosed(calls, /^(port|processQueue)\./)).toBe(12);
    expect(bridge.readFdb()).toEqual([]);
    expect(calls['capture.lost']!()).toBe(0);
  });

  test('a bridge, and a capture of it stays to be read', () => {
    const calls = everyCall();
    expect(() => bridge.close()).toThrow(codeOf('BAD_OPTION'));
    for (const of of [ring, port]) of.close();
    bridge.close();
    expect(expectClosed(calls, /^bridge\./)).toBe(9);
    expect(calls['capture.read']!()).toBe(0);
  });

  test('a capture', () => {
    const capture = port.capture(64, callFd);
    capture.close();
    expect(() => capture.read(bytes)).toThrow(codeOf('CLOSED'));
    expect(() => capture.requestCall()).toThrow(codeOf('CLOSED'));
    expect(() => capture.lost()).toThrow(codeOf('CLOSED'));
  });

  test('all of a data plane that is closed', () => {
    const calls = everyCall();
    const extra = bridge.addRingPort('extra', 1, () => {});
    dataplane.close();
    expect(expectClosed(calls, /./)).toBe(Object.keys(calls).length);
    expect(() => extra.counters()).toThrow(codeOf('CLOSED'));
    dataplane.drainEvents();
  });

  test('close() may be called again, in any order', () => {
    const capture = bridge.capture(64, callFd);
    for (const handle of [capture, ring, port, bridge]) {
      handle.close();
      handle.close();
    }
    dataplane.close();
    for (const handle of [dataplane, bridge, capture, port, ring]) handle.close();
  });
});

describe('a number that is used again', () => {
  test('is of a new port: the handle of the old one stays closed', () => {
    const { number } = port;
    const queue = port.queue(1);
    port.close();
    const successor = addPort(bridge, 'successor');
    expect(successor.number).toBe(number);
    expect(() => port.isDrained()).toThrow(codeOf('CLOSED'));
    expect(() => queue.requestCall()).toThrow(codeOf('CLOSED'));
    expect(() => dataplane.setPartition([[port]])).toThrow(codeOf('CLOSED'));
    expect(() => successor.set('linkFromPort', link, port)).toThrow(codeOf('CLOSED'));
    port.close();
    expect(successor.isDrained()).toBe(true);
  });

  test('is of a new bridge and of a new capture, likewise', () => {
    const green = dataplane.addBridge('green', 0);
    const capture = green.capture(64, callFd);
    const { number } = green;
    green.close();
    capture.close();
    const [red, other] = [dataplane.addBridge('red', 0), port.capture(64, callFd)];
    expect(red.number).toBe(number);
    expect(() => port.move(green)).toThrow(codeOf('CLOSED'));
    green.close();
    capture.close();
    port.move(red);
    expect(other.lost()).toBe(0);
  });
});

describe('a handle of another switch, or none', () => {
  test('is refused, and nothing is done', () => {
    const other = open();
    const foreign = other.addBridge('blue', 0);
    const foreignPort = addPort(foreign, 'process');
    for (const wrong of [foreign, ring, {}, null, undefined, 0, 'blue', Object.create(bridge)]) {
      expect(() => port.move(wrong as NativeBridge)).toThrow(codeOf('BAD_OPTION'));
    }
    const disguised = Object.setPrototypeOf({}, Object.getPrototypeOf(ring));
    const misplaced = Object.setPrototypeOf(
      bridge.capture(64, callFd),
      Object.getPrototypeOf(ring),
    );
    for (const wrong of [foreignPort, bridge, disguised, misplaced, [], null, undefined, 1]) {
      expect(() => dataplane.setPartition([[port], [wrong as NativePort]])).toThrow(
        codeOf('BAD_OPTION'),
      );
      expect(() => port.set('linkFromPort', link, wrong as NativePort)).toThrow(
        codeOf('BAD_OPTION'),
      );
    }
    const peer = addPort(bridge, 'peer');
    send(port, 1);
    expect(peer.receive(bytes, lengths)).toBe(1);
    other.close();
  });

  test('is no this: methods are of their own class', () => {
    const handles = [dataplane, bridge, ring, port, ring.queue(0), port.queue(0)];
    const all = [...handles, bridge.capture(64, callFd), {}, undefined];
    for (const of of handles) {
      const prototype = Object.getPrototypeOf(of);
      for (const name of Object.getOwnPropertyNames(prototype)) {
        // An accessor would be bound to nothing.
        const { value } = Object.getOwnPropertyDescriptor(prototype, name)!;
        expect(value, name).toBeTypeOf('function');
        for (const other of all) {
          if (name === 'constructor' || other === of) continue;
          expect(() => value.call(other), name).toThrow(TypeError);
        }
      }
    }
  });

  test('cannot be made by its class', () => {
    for (const of of [dataplane, bridge, ring, port, ring.queue(0), bridge.capture(64, callFd)]) {
      const Class = Object.getPrototypeOf(of).constructor;
      expect(() => new Class()).toThrow(codeOf('BAD_OPTION'));
      expect(() => new Class(of)).toThrow(codeOf('BAD_OPTION'));
      expect(() => Reflect.construct(Class, [], Object)).toThrow(codeOf('BAD_OPTION'));
      expect(() => Class()).toThrow();
    }
  });
});

describe('an argument of a wrong type is BAD_OPTION, and its fd is closed', () => {
  const wrong: [string, () => unknown][] = [
    ['a bridge without a name', () => dataplane.addBridge(3 as never, 0)],
    ['a bridge that ages backwards', () => dataplane.addBridge('x', -1)],
    ['sides that are none', () => dataplane.setPartition('ab' as never)],
    ['a side that is none', () => dataplane.setPartition([3 as never])],
    ['a port without pairs', () => bridge.addRingPort('x', 0, () => {})],
    ['a port of too many pairs', () => bridge.addRingPort('x', 129, () => {})],
    ['a port that tells nobody', () => bridge.addRingPort('x', 1, undefined as never)],
    ['a listener that is none', () => bridge.addProcessPort('x', {} as never)],
    ['a queue beyond the last', () => ring.queue(4)],
    ['a queue before the first', () => ring.queue(-1)],
    ['half a queue', () => ring.queue(0.5)],
    ['memory that is no list', () => ring.setMemory({} as never)],
    ['a list of no regions', () => ring.setMemory([3 as never])],
    ['a region without an address', () => ring.addMemoryRegion({ fd: callCopy() } as never)],
    [
      'the second of two regions',
      () => ring.setMemory([{ ...region, fd: callCopy() }, { fd: callCopy() } as never]),
    ],
    ['features that are a number', () => ring.setFeatures(1 as never)],
    ['features of more than 64 bits', () => ring.setFeatures(2n ** 64n)],
    ['logging that is no flag', () => ring.setLogging(1 as never)],
    ['a log without a size', () => ring.setLog({ fd: callCopy() } as never)],
    ['an address of more than 48 bits', () => ring.announce(2 ** 48)],
    ['a start of nothing', () => ring.queue(0).start({ kickFd: callCopy() } as never)],
    ['an enable that is no flag', () => ring.queue(0).enable(undefined as never)],
    ['a queue that does not run, moved', () => ring.queue(0).move(rings)],
    ['a queue that does not run, read', () => ring.queue(0).read()],
    ['a queue that does not run, given away', () => ring.queue(1).assign(0)],
    ['a queue that is no transmitq', () => port.queue(0).worker()],
    ['a worker that is not there', () => port.queue(1).assign(1)],
    ['frames that are no bytes', () => port.send([] as never, lengths, 0)],
    ['lengths that are no words', () => port.send(bytes, bytes as never, 0)],
    ['more frames than lengths', () => port.send(bytes, lengths, lengths.length + 1)],
    ['nowhere to receive', () => port.receive(undefined as never, lengths)],
    ['a capture without an eventfd', () => port.capture(64, -1)],
    ['an interface of no port', () => port.capture(64, callFd).setInterface(1024, 0)],
    ['no interface of a port', () => port.capture(64, callFd).setInterface(0, -1)],
    ['a capture of more than a frame', () => port.capture(65_551, callFd)],
    ['a policy that is a number', () => port.set(3 as never, undefined)],
  ];
  const callCopy = () => addon.dupFd(callFd);

  test.each(wrong)('%s', (_, call) => {
    const fds = readdirSync('/proc/self/fd').length;
    expect(call).toThrow(codeOf('BAD_OPTION'));
    expect(readdirSync('/proc/self/fd')).toHaveLength(fds);
  });

  test('nor is another file an eventfd', () => {
    const fds = readdirSync('/proc/self/fd').length;
    const file = () => addon.memfdCreate('none', 4096);
    const start = { ...rings, size: 8, base: 0 };
    expect(() => ring.queue(0).setCall(file())).toThrow(codeOf('BAD_EVENTFD'));
    expect(() => ring.queue(0).setErr(file())).toThrow(codeOf('BAD_EVENTFD'));
    expect(() => ring.queue(0).start({ ...start, kickFd: file() })).toThrow(codeOf('BAD_EVENTFD'));
    expect(readdirSync('/proc/self/fd')).toHaveLength(fds);
  });
});

describe('what is read may close what it is read for', () => {
  /** An object whose last field does something when it is read. */
  function reading<T extends object>(object: T, act: () => void): T {
    return new Proxy(object, {
      get(target, key) {
        if (key === Object.keys(object).at(-1)) act();
        return target[key as keyof T];
      },
    });
  }

  test.each([
    ['its port', () => ring.close()],
    ['the data plane', () => dataplane.close()],
  ])('%s', (_, act) => {
    const fd = addon.eventfdCreate();
    const fds = readdirSync('/proc/self/fd').length;
    const start = { ...rings, size: 8, kickFd: addon.dupFd(fd), base: 0 };
    expect(() => ring.queue(0).start(reading(start, act))).toThrow(codeOf('CLOSED'));
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(fds);
    addon.closeFd(fd);
  });

  test('policies, regions, logs and sides', () => {
    const calls: ((act: () => void) => unknown)[] = [
      (act) => ring.set('linkToGuest', reading(link, act)),
      (act) => ring.setMemory([reading({ ...region, fd: addon.dupFd(callFd) }, act)]),
      (act) => ring.addMemoryRegion(reading({ ...region, fd: addon.dupFd(callFd) }, act)),
      (act) => ring.removeMemoryRegion(reading(region, act)),
      (act) =>
        ring.setLog(reading({ fd: addon.dupFd(callFd), sizeBytes: 4096n, offsetBytes: 0n }, act)),
      (act) => ring.queue(0).move(reading(rings, act)),
      (act) => {
        const sides = [[ring], [port]];
        Object.defineProperty(sides, 1, {
          get() {
            act();
            return [port];
          },
        });
        dataplane.setPartition(sides);
      },
    ];
    for (const call of calls) {
      ring.close();
      ring = bridge.addRingPort('ring', 1, () => {});
      expect(() => call(() => ring.close()), String(call)).toThrow(codeOf('CLOSED'));
    }
  });
});
