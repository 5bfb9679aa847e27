/**
 * What follows --socket and --connect: a path, and behind commas what holds for this port alone.
 *
 *     /run/vsw/01.sock,allow=libvirt-qemu,mac=52:54:00:00:00:01,address=10.0.0.1,address=fd00::/64
 *
 * Every comma begins an option, so that no mistake in one becomes part of the path and leaves the
 * port without its protection. A comma that belongs to a path or a value is written twice, as in
 * QEMU's options.
 */

import { InvalidArgumentError } from 'commander';
import type { PortOptions } from '../index.ts';

/** Whether the path is listened on or connected to is said by the option in front of it. */
export interface PortArgument {
  readonly path: string;
  readonly rest: Pick<PortOptions, 'allow' | 'source' | 'ringReset' | 'inBand' | 'mtu'>;
}

const optionNames = ['allow', 'mac', 'address', 'ring-reset', 'in-band', 'mtu'];

export function collectPort(text: string, ports: readonly PortArgument[] = []): PortArgument[] {
  return [...ports, portArgument(text)];
}

function portArgument(text: string): PortArgument {
  const [path = '', ...options] = partsOf(text);
  if (path === '') {
    throw new InvalidArgumentError('The path of a socket comes first, and is not empty.');
  }
  const pairs = options.map(pairOf);
  const valuesOf = (name: string) =>
    pairs.filter((pair) => pair.name === name).map(({ value }) => value);
  const switchOf = (name: string) => {
    const values = valuesOf(name);
    const unclear = values.find((value) => value !== 'on' && value !== 'off');
    if (unclear === undefined) return values.at(-1);
    throw new InvalidArgumentError(`${name} is on or off, not "${unclear}".`);
  };
  const [allow, macs, addresses] = [valuesOf('allow'), valuesOf('mac'), valuesOf('address')];
  const [ringReset, inBand] = [switchOf('ring-reset'), switchOf('in-band')];
  const mtus = valuesOf('mtu');
  return {
    path,
    rest: {
      ...(allow.length === 0 ? {} : { allow }),
      ...(macs.length + addresses.length === 0 ? {} : { source: { macs, addresses } }),
      ...(mtus.length === 0 ? {} : { mtu: Number(mtus.at(-1) || Number.NaN) }),
      ...(ringReset === undefined ? {} : { ringReset: ringReset === 'on' }),
      ...(inBand === undefined ? {} : { inBand: inBand === 'on' }),
    },
  };
}

/** What single commas separate; of two in a row, one is left and separates nothing. */
function partsOf(text: string): string[] {
  const parts = [''];
  for (const piece of text.match(/(?:[^,]|,,)+|,/g) ?? []) {
    if (piece === ',') parts.push('');
    else parts.push(`${parts.pop()}${piece.replaceAll(',,', ',')}`);
  }
  return parts;
}

function pairOf(part: string): { name: string; value: string } {
  const [, name, value] = /^([^=]*)=(.*)$/s.exec(part) ?? [];
  if (name !== undefined && value !== undefined && optionNames.includes(name)) {
    return { name, value };
  }
  const names = optionNames.join(', ');
  if (name !== undefined && /^[\w-]+$/.test(name)) {
    throw new InvalidArgumentError(`A port has no option ${name}; it has ${names}.`);
  }
  throw new InvalidArgumentError(
    `"${part}" is no option of a port, such as allow=USER (there are ${names}); ` +
      'a comma that is part of the path is written twice.',
  );
}
