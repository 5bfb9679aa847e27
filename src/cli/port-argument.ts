/**
 * What follows --socket and --connect: a path, and behind commas what holds for this port alone.
 *
 *     /run/vsw/01.sock,allow=libvirt-qemu,mac=52:54:00:00:00:01,address=10.0.0.1,address=fd00::/64
 *
 * A comma begins an option only where a word and `=` follow, so that others may be part of the path.
 */

import { InvalidArgumentError } from 'commander';
import type { PortOptions } from '../index.ts';

/** Whether the path is listened on or connected to is said by the option in front of it. */
export interface PortArgument {
  readonly path: string;
  readonly rest: Pick<PortOptions, 'allow' | 'source' | 'ringReset' | 'mtu'>;
}

const optionNames = ['allow', 'mac', 'address', 'ring-reset', 'mtu'];

export function collectPort(text: string, ports: readonly PortArgument[]): PortArgument[] {
  return [...ports, portArgument(text)];
}

function portArgument(text: string): PortArgument {
  const [path = '', ...options] = text.split(/,(?=[\w-]+=)/);
  const pairs = options.map((option) => {
    const [, name, value] = /^([\w-]+)=(.*)$/s.exec(option) as unknown as [string, string, string];
    if (!optionNames.includes(name)) {
      throw new InvalidArgumentError(
        `A port has no option ${name}; it has ${optionNames.join(', ')}.`,
      );
    }
    return { name, value };
  });
  const valuesOf = (name: string) =>
    pairs.filter((pair) => pair.name === name).map(({ value }) => value);
  const [allow, macs, addresses, ringReset, mtus] = optionNames.map(valuesOf) as [
    string[],
    string[],
    string[],
    string[],
    string[],
  ];
  const unclear = ringReset.find((value) => value !== 'on' && value !== 'off');
  if (unclear !== undefined) {
    throw new InvalidArgumentError(`ring-reset is on or off, not "${unclear}".`);
  }
  return {
    path,
    rest: {
      ...(allow.length === 0 ? {} : { allow }),
      ...(macs.length + addresses.length === 0 ? {} : { source: { macs, addresses } }),
      ...(mtus.length === 0 ? {} : { mtu: Number(mtus.at(-1) || Number.NaN) }),
      ...(ringReset.length === 0 ? {} : { ringReset: ringReset.at(-1) === 'on' }),
    },
  };
}
