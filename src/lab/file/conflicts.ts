/**
 * What the schema allows and a lab does not: addresses that no card can have, two machines that
 * want the same one, settings that contradict each other.
 *
 * It looks at what the user wrote, before defaults, and passes over whatever has the wrong shape:
 * that is in the findings of the schema already, and all findings are to be told at once.
 */

import { type Finding, isMapping, type Path, shown } from '../../model/findings.ts';
import { addressProblem, canonicalAddress } from './address.ts';
import { userDataFindings } from './user-data.ts';

/** What the tiny guest could make no use of. */
const diskGuestKeys = ['disk', 'userData'];

/** What User-mode Linux has not, by the key that asks for it. */
const umlLacks = {
  disk: 'has no disks',
  disks: 'has no disks',
  userData: 'has no cloud-init',
  sshPort: 'has no ssh: `tsvswitch lab exec` and `console` reach it without',
  sshKeys: 'has no ssh: `tsvswitch lab exec` and `console` reach it without',
  qemuArguments: 'is not QEMU',
  deviceOptions: "has no options for its network card: what it agrees on is the switch's offer",
} as const;

/** `tell` says where something stands, for people. */
export function conflicts(definition: unknown, tell: (path: Path) => string): Finding[] {
  const machines = Object.entries(mapping(mapping(definition).machines)).map(([name, machine]) => ({
    path: ['machines', name],
    machine: mapping(machine),
  }));
  return [
    ...switchConflicts(mapping(mapping(definition).switch)),
    ...machines.flatMap(({ path, machine }) =>
      machine.engine === 'uml' ? umlConflicts(path, machine) : tinyConflicts(path, machine),
    ),
    ...machines.flatMap(({ path, machine }) => userDataFindings(path, machine)),
    ...machines.flatMap(({ path, machine }) => addressFindings(path, machine)),
    ...doubles(machines.flatMap(givenOnce), tell),
  ];
}

function switchConflicts(own: Record<string, unknown>): Finding[] {
  const { attach, workers, cpus } = own;
  if (attach !== undefined) {
    return ['workers', 'cpus']
      .filter((key) => own[key] !== undefined)
      .map((key) => ({
        path: ['switch', key],
        part: 'key',
        sentence: 'the switch that attach names has been given its own; remove this',
      }));
  }
  const count = typeof workers === 'number' ? workers : 1;
  if (!Array.isArray(cpus) || cpus.length <= count) return [];
  const sentence =
    `${cpus.length} CPUs for ${count === 1 ? 'one worker' : `${count} workers`}; give at most ` +
    'one each';
  return [{ path: ['switch', 'cpus'], part: 'value', sentence }];
}

function tinyConflicts(path: Path, machine: Record<string, unknown>): Finding[] {
  const { image = 'builtin:tiny' } = machine;
  if (image !== 'builtin:tiny') return [];
  return diskGuestKeys
    .filter((key) => machine[key] !== undefined)
    .map((key) => ({
      path: [...path, key],
      part: 'key',
      sentence:
        'builtin:tiny has neither disk nor cloud-init; give the machine an image such as ' +
        'builtin:debian',
    }));
}

function umlConflicts(path: Path, machine: Record<string, unknown>): Finding[] {
  const { image = 'builtin:tiny', cpus = 1 } = machine;
  const remedy = '; remove this, or `engine: uml`';
  const lacking = Object.entries(umlLacks).flatMap(([key, lack]): Finding[] =>
    machine[key] === undefined
      ? []
      : [{ path: [...path, key], part: 'key', sentence: `User-mode Linux ${lack}${remedy}` }],
  );
  const wrong = (key: string, sentence: string): Finding => ({
    path: [...path, key],
    part: 'value',
    sentence: `${sentence}${remedy}`,
  });
  return [
    ...lacking,
    ...(image === 'builtin:tiny'
      ? []
      : [wrong('image', `User-mode Linux boots builtin:tiny, not ${shown(image)}`)]),
    ...(cpus === 1 ? [] : [wrong('cpus', `User-mode Linux has one processor, not ${shown(cpus)}`)]),
  ];
}

function addressFindings(path: Path, { addresses }: Record<string, unknown>): Finding[] {
  return (Array.isArray(addresses) ? addresses : []).flatMap((address, index): Finding[] => {
    const problem = typeof address === 'string' ? addressProblem(address) : undefined;
    if (problem === undefined) return [];
    const sentence = `${shown(address)} ${problem}`;
    return [{ path: [...path, 'addresses', String(index)], part: 'value', sentence }];
  });
}

interface Given {
  readonly path: Path;
  readonly kind: string;
  /** The same for all spellings. */
  readonly value: string;
}

/** What `machine` claims for itself alone. */
function givenOnce({ path, machine }: { path: Path; machine: Record<string, unknown> }): Given[] {
  const { mac, addresses, sshPort } = machine;
  const given: Given[] = [];
  if (typeof mac === 'string') {
    given.push({ path: [...path, 'mac'], kind: 'MAC address', value: mac.toLowerCase() });
  }
  if (Number.isInteger(sshPort)) {
    given.push({ path: [...path, 'sshPort'], kind: 'port', value: String(sshPort) });
  }
  for (const [index, address] of (Array.isArray(addresses) ? addresses : []).entries()) {
    if (typeof address !== 'string' || addressProblem(address) !== undefined) continue;
    given.push({
      path: [...path, 'addresses', String(index)],
      kind: 'address',
      value: canonicalAddress(address),
    });
  }
  return given;
}

function doubles(all: readonly Given[], tell: (path: Path) => string): Finding[] {
  const first = new Map<string, Path>();
  return all.flatMap(({ path, kind, value }) => {
    const key = `${kind} ${value}`;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, path);
    return earlier === undefined
      ? []
      : [{ path, part: 'value', sentence: `${key} is taken at ${tell(earlier)} already` }];
  });
}

function mapping(value: unknown): Record<string, unknown> {
  return isMapping(value) ? value : {};
}
