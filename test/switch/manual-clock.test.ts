/** A clock that stands still: frames and time move when the program says so, and only then. */

import { describe, expect, test } from 'vitest';
import { Switch } from '../../src/index.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';
import { openManual } from '../support/manual-switch.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

describe('a manual clock', () => {
  test('moves nothing but when told to, and tells everything before step() returns', () => {
    const { vswitch, ports } = openManual('a', 'b');
    const learned: string[] = [];
    vswitch.on('mac-learned', ({ mac }) => learned.push(mac));
    ports[0]!.send([frameBetween(0, 1), frameBetween(2, 1)]);
    expect(ports[1]!.take()).toEqual([]);
    expect(vswitch.step()).toBe(2);
    expect(learned).toEqual([macOf(0), macOf(2)]);
    expect(ports[1]!.take()).toHaveLength(2);
    expect(vswitch.step(100)).toBe(0);
    vswitch.close();
  });

  test('ages addresses by advance() alone, and tells of each', () => {
    const vswitch = Switch.open({ clock: 'manual', ageingSeconds: 2 });
    const aged: unknown[] = [];
    vswitch.on('mac-aged', ({ port, mac }) => aged.push([port, mac]));
    const [a] = ['a', 'b'].map((name) => vswitch.addPort({ process: name }));
    a!.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.advance(2000);
    expect(vswitch.bridge.fdb).toEqual([{ mac: macOf(0), port: 'a', ageSeconds: 2 }]);
    expect(aged).toEqual([]);
    vswitch.advance(1000);
    expect(vswitch.bridge.fdb).toEqual([]);
    expect(aged).toEqual([['a', macOf(0)]]);
    vswitch.close();
  });

  test.each<[string, object]>([
    ['workers', { workers: 2 }],
    ['CPUs', { cpus: [0] }],
    ['another name', { clock: 'sundial' }],
  ])('with %s is BAD_OPTION', (_, options) => {
    expect(() => Switch.open({ clock: 'manual', ...options })).toThrow(codeOf('BAD_OPTION'));
  });

  test('is what step() and advance() need; their arguments are checked', () => {
    const { vswitch } = openManual();
    for (const rounds of [0, -1, 1.5, Number.NaN, '1' as unknown as number]) {
      expect(() => vswitch.step(rounds)).toThrow(codeOf('BAD_OPTION'));
    }
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number]) {
      expect(() => vswitch.advance(ms)).toThrow(codeOf('BAD_OPTION'));
    }
    vswitch.close();
    expect(() => vswitch.step()).toThrow(codeOf('CLOSED'));
    expect(() => vswitch.advance(1)).toThrow(codeOf('CLOSED'));
    const running = Switch.open();
    expect(() => running.step()).toThrow(codeOf('BAD_OPTION'));
    expect(() => running.advance(1)).toThrow(codeOf('BAD_OPTION'));
    running.close();
  });
});
