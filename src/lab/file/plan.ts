/**
 * A lab as it is to be: every machine with everything decided, nothing left to defaults.
 *
 * Planning is pure: it touches neither files nor processes, so that an image which is missing or a
 * port which is taken is found by whoever comes to use it, and a lab can be taken down when they
 * are gone. The same definition at the same path always gives the same plan; what one machine gets
 * does not depend on the others unless they want the same (address.ts).
 */

import { createHash } from 'node:crypto';
import { basename, dirname, resolve } from 'node:path';
import { failure } from '../../model/errors.ts';
import { complaint, type Finding, type FoundIn, placeOf } from '../../model/findings.ts';
import type { ImageSource } from '../image/source.ts';
import { canonicalAddress, deriveAddress, derivedPrefixLength, deriveMac } from './address.ts';
import { conflicts } from './conflicts.ts';
import { type CompleteMachine, check, type LabDefinition } from './definition.ts';

/** What a definition comes to, with everything that it left open decided. */
export interface LabPlan {
  readonly name: string;
  /** Absolute path of the file that declares the lab; relative paths in it start at its folder. */
  readonly file: string;
  /** The name and eight hexadecimal digits of the path's hash: two labs never share it. */
  readonly id: string;
  readonly switch: SwitchPlan;
  readonly machines: readonly MachinePlan[];
}

export type SwitchPlan = {
  /** Of all machines' net1. */
  readonly bridge: string;
} & (
  | { readonly type: 'own'; readonly workers: number; readonly cpus: readonly number[] }
  /** A switch that runs already; `control` is the absolute path of its control socket. */
  | { readonly type: 'attach'; readonly control: string }
);

/** A machine of the plan. */
export interface MachinePlan {
  /** Also its hostname. */
  readonly name: string;
  readonly engine: 'qemu' | 'uml';
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly image: ImageSource;
  /** What the disk is grown to; undefined leaves it as large as the image. */
  readonly diskBytes: number | undefined;
  /** Further, empty disks. */
  readonly disks: readonly { readonly bytes: number }[];
  /** Of net1, on the switch. */
  readonly mac: string;
  /** Of net0, user-mode, on which ssh is forwarded; no card of User-mode Linux. */
  readonly managementMac: string;
  /** Of net1, each with its prefix length, such as 192.168.0.1/24. */
  readonly addresses: readonly string[];
  /** On the loopback of the host; undefined takes any free port. */
  readonly sshPort: number | undefined;
  readonly user: string;
  readonly password: string;
  /** Lines of authorized_keys that are let in besides the lab's own key. */
  readonly sshKeys: readonly string[];
  readonly userData: UserDataPlan | undefined;
  /** Behind all others on QEMU's command line. */
  readonly qemuArguments: readonly string[];
  /** Further options of net1's virtio-net-pci. */
  readonly deviceOptions: Readonly<Record<string, string>>;
}

export type UserDataPlan =
  /**
   * Cloud-config that is merged into what the lab gives the machine; see cloud-init/user-data.ts.
   */
  | { readonly mode: 'merge'; readonly content: Readonly<Record<string, unknown>> }
  /** All of the user-data, as it is. */
  | { readonly mode: 'replace'; readonly content: string };

export interface Origin {
  /** Absolute path of the file the definition comes from; it need not exist. */
  readonly file: string;
  /** The text that was read, to say where something stands in it; without it, paths say where. */
  readonly text?: FoundIn & {
    /** What was found while it was read. */
    readonly findings: readonly Finding[];
  };
}

/** As in the schema. */
const nameCharactersMax = 24;
const memoryMiBDefault = { tiny: 256, other: 1024 } as const;

/**
 * Throws LAB_INVALID with a line for everything in `definition` that cannot be. Nothing that is
 * derived is what one of `others`, machines besides those of the definition, has.
 */
export function planOf(
  definition: LabDefinition,
  origin: Origin,
  others: readonly MachinePlan[] = [],
): LabPlan {
  const plain = plainCopy(definition);
  const checked = check(plain);
  const findings = [
    ...('findings' in checked ? checked.findings : []),
    ...(origin.text?.findings ?? []),
    ...conflicts(plain, (path) => placeOf(path, 'value', origin.text)),
  ];
  if ('findings' in checked || findings.length > 0) {
    throw failure('lab-definition-invalid', {
      findings: complaint('the lab', findings, origin.text),
    });
  }

  const { machines, switch: own, name = folderName(origin.file) } = checked.complete;
  const id = `${name}-${createHash('sha256').update(origin.file).digest('hex').slice(0, 8)}`;
  const folder = dirname(origin.file);
  const entries = Object.entries(machines);
  const macs = new Set([
    ...entries.flatMap(([, { mac }]) => mac?.toLowerCase() ?? []),
    ...others.flatMap(({ mac, managementMac }) => [mac, managementMac]),
  ]);
  const addresses = new Set(
    [...entries.map(([, machine]) => machine), ...others].flatMap(
      (machine) => machine.addresses?.map(canonicalAddress) ?? [],
    ),
  );
  return {
    name,
    file: origin.file,
    id,
    switch: {
      bridge: own.bridge,
      ...(own.attach === undefined
        ? { type: 'own', workers: own.workers, cpus: own.cpus }
        : { type: 'attach', control: resolve(folder, own.attach) }),
    },
    machines: entries.map(([machineName, machine]) => ({
      ...machinePlan(machineName, machine, folder),
      mac: machine.mac?.toLowerCase() ?? deriveMac(id, machineName, 'net1', macs),
      managementMac: deriveMac(id, machineName, 'net0', macs),
      addresses: machine.addresses ?? [
        `${deriveAddress(id, machineName, addresses)}/${derivedPrefixLength}`,
      ],
    })),
  };
}

function machinePlan(
  name: string,
  machine: CompleteMachine,
  folder: string,
): Omit<MachinePlan, 'mac' | 'managementMac' | 'addresses'> {
  const image = imageSource(machine.image, folder);
  return {
    name,
    engine: machine.engine,
    cpus: machine.cpus,
    memoryMiB:
      machine.memory === undefined
        ? memoryMiBDefault[image.type === 'tiny' ? 'tiny' : 'other']
        : bytesOf(machine.memory) / unitBytes.M,
    image,
    diskBytes: machine.disk === undefined ? undefined : bytesOf(machine.disk),
    disks: machine.disks.map((size) => ({ bytes: bytesOf(size) })),
    sshPort: machine.sshPort,
    user: machine.user,
    password: machine.password,
    sshKeys: machine.sshKeys,
    userData: userDataPlan(machine.userData),
    qemuArguments: machine.qemuArguments,
    deviceOptions: Object.fromEntries(
      Object.entries(machine.deviceOptions).map(([option, setting]) => [
        option,
        typeof setting === 'boolean' ? (setting ? 'on' : 'off') : String(setting),
      ]),
    ),
  };
}

function imageSource(image: CompleteMachine['image'], folder: string): ImageSource {
  if (typeof image === 'object') {
    const [algorithm, sum] =
      'sha256' in image ? (['sha256', image.sha256] as const) : (['sha512', image.sha512] as const);
    return { type: 'url', url: image.url, checksum: { algorithm, sum: sum.toLowerCase() } };
  }
  switch (image) {
    case 'builtin:tiny':
      return { type: 'tiny' };
    case 'builtin:debian':
      return { type: 'debian' };
    default:
      return { type: 'file', path: resolve(folder, image) };
  }
}

function userDataPlan(userData: CompleteMachine['userData']): UserDataPlan | undefined {
  if (userData === undefined) return undefined;
  return typeof userData === 'string'
    ? { mode: 'replace', content: userData }
    : { mode: 'merge', content: userData };
}

const unitBytes = { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 } as const;

/** `size` is as the schema has it: a whole number and a unit. */
function bytesOf(size: string): number {
  return Number(size.slice(0, -1)) * unitBytes[size.at(-1) as keyof typeof unitBytes];
}

/** The folder of `file` as the name of a lab. */
function folderName(file: string): string {
  const name = basename(dirname(file))
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, nameCharactersMax)
    .replace(/-+$/, '');
  return name === '' ? 'lab' : name;
}

/** A definition may come from a program: getters, cycles and what is not data end here. */
function plainCopy(definition: LabDefinition): unknown {
  try {
    return JSON.parse(JSON.stringify(definition) ?? 'null');
  } catch (cause) {
    throw failure('lab-definition-no-data', { cause: (cause as Error).message }, { cause });
  }
}
