/**
 * Bridges of one switch: what is theirs alone, what they are called, and how many ports they carry.
 */

import { describe, expect, test } from 'vitest';
import { type ProcessPort, Switch } from '../../src/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

describe('bridges', () => {
  test('of one switch pass no frame to each other, and each knows its own addresses', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
    const [c, d] = ['c', 'd'].map((name) => vswitch.addPort({ process: name, bridge: 'blue' })) as [
      ProcessPort,
      ProcessPort,
    ];
    a!.send(frameBetween(0, 9));
    c.send(frameBetween(0, 9, 1));
    vswitch.step();
    expect([a, b, c, d].map((port) => port!.take().length)).toEqual([0, 1, 0, 1]);
    expect(vswitch.bridges.map(({ name, fdb }) => [name, fdb.map(({ port }) => port)])).toEqual([
      ['default', ['a']],
      ['blue', ['c']],
    ]);
    expect(d.bridge).toBe('blue');
    vswitch.close();
  });

  test('are named like ports: a name that is no name is BAD_OPTION', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    for (const bridge of ['', 7 as unknown as string]) {
      expect(() => vswitch.addPort({ process: 'a', bridge })).toThrow(codeOf('BAD_OPTION'));
    }
    expect(() => vswitch.addPort({ process: '' })).toThrow(codeOf('BAD_OPTION'));
    vswitch.addPort({ process: 'a' });
    expect(() => vswitch.addPort({ process: 'a', bridge: 'blue' })).toThrow(codeOf('BAD_OPTION'));
    expect(vswitch.ports).toHaveLength(1);
    vswitch.close();
  });

  test('carry 1024 ports, and not one more', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    const ports = Array.from({ length: 1024 }, (_, i) => vswitch.addPort({ process: `p${i}` }));
    expect(() => vswitch.addPort({ process: 'one more' })).toThrow(codeOf('TOO_MANY_PORTS'));
    ports[1023]!.send(ethernetFrame({ from: macOf(1), to: broadcast }));
    vswitch.step();
    expect(ports.filter((port) => port.take().length === 1)).toHaveLength(1023);
    vswitch.removePort(ports[5]!);
    expect(vswitch.addPort({ process: 'another' }).number).toBe(5);
    vswitch.close();
  });
});
