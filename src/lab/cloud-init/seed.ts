/**
 * The seed of a machine: a CD image labelled cidata that cloud-init finds and reads at boot.
 *
 * Three documents for the NoCloud data source: user-data (user-data.ts), meta-data with the
 * hostname, network-config with what each card gets, found by its MAC address. The instance-id is a
 * hash of all of them: cloud-init sets a machine up once and again only after something has
 * changed.
 *
 * The image is made with whichever of genisoimage, xorriso and mkisofs is there, beside its final
 * path and renamed when complete; only its owner may read it.
 *
 * Source: cloud-init documentation, "NoCloud" and "Networking config version 2".
 */

import { createHash } from 'node:crypto';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecaError, execa } from 'execa';
import { failure, TsvswitchError } from '../../model/errors.ts';
import type { MachinePlan } from '../file/plan.ts';
import { json, userData } from './user-data.ts';

const label = 'cidata';
const imageName = 'seed.iso';
const makeLimitMs = 30_000;
/** They take the same options. */
const makers = [['genisoimage'], ['xorriso', '-as', 'mkisofs'], ['mkisofs']] as const;

/** Makes the seed at `path`; `authorizedKeys` are let in besides the keys of the machine's plan. */
export async function makeSeed(
  machine: MachinePlan,
  authorizedKeys: readonly string[],
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  const documents = seedDocuments(machine, authorizedKeys);
  try {
    const folder = await mkdtemp(`${path}.`);
    try {
      for (const [name, text] of Object.entries(documents))
        await writeFile(join(folder, name), text);
      await makeImage(folder, Object.keys(documents), signal);
      await chmod(join(folder, imageName), 0o600);
      await rename(join(folder, imageName), path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof TsvswitchError) throw cause;
    const said = cause instanceof ExecaError ? cause.stderr || cause.shortMessage : String(cause);
    throw failure('seed-failed', { name: machine.name, path, cause: said }, { cause });
  }
}

/** The documents by their names on the image. */
export function seedDocuments(
  machine: MachinePlan,
  authorizedKeys: readonly string[],
): { 'user-data': string; 'network-config': string; 'meta-data': string } {
  const keys = [...new Set([...authorizedKeys, ...machine.sshKeys])];
  const user = userData(machine, keys);
  const network = json(networkConfig(machine));
  const metaData = {
    'local-hostname': machine.name,
    // For the image's default user, where user-data was replaced and does not give them to one.
    'public-keys': keys,
  };
  const version = createHash('sha256')
    .update(json([user, network, metaData]))
    .digest('hex');
  return {
    'user-data': user,
    'network-config': network,
    'meta-data': json({ 'instance-id': `${machine.name}-${version.slice(0, 16)}`, ...metaData }),
  };
}

/** With names of their own, since some of cloud-init's renderers find a card by its name only. */
function networkConfig({ mac, managementMac, addresses }: MachinePlan): object {
  return {
    version: 2,
    ethernets: {
      net0: { match: { macaddress: managementMac }, 'set-name': 'net0', dhcp4: true },
      net1: { match: { macaddress: mac }, 'set-name': 'net1', addresses },
    },
  };
}

async function makeImage(
  folder: string,
  names: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const [program, ...rest] of makers) {
    const options = ['-quiet', '-V', label, '-J', '-r', '-o', imageName, ...names];
    try {
      await execa(program, [...rest, ...options], {
        cwd: folder,
        stdin: 'ignore',
        timeout: makeLimitMs,
        ...(signal && { cancelSignal: signal }),
      });
      return;
    } catch (error) {
      if ((error as ExecaError).code !== 'ENOENT') throw error;
    }
  }
  throw failure('seed-program-missing');
}
