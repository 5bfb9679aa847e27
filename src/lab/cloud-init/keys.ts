/**
 * The key pair with which the lab logs in to its machines: ed25519, made once a lab, without a
 * passphrase, readable by its owner only.
 *
 * The pair is a folder that appears complete or not at all; two processes that make it at once end
 * up with the same one.
 */

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecaError, execa } from 'execa';
import { failure } from '../../model/errors.ts';

const keyName = 'id_ed25519';
const makeLimitMs = 30_000;

export interface LabKey {
  readonly privateKeyFile: string;
  /** One line as in authorized_keys, without its end. */
  readonly publicKey: string;
}

/** The key kept in `folder`, which is there; made if it is not yet. */
export async function labKey(folder: string): Promise<LabKey> {
  const pair = join(folder, 'ssh');
  if (!existsSync(pair)) {
    const partial = await mkdtemp(`${pair}.`);
    try {
      await makeKey(partial);
      await rename(partial, pair);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      // Someone else may have been faster; then theirs is in the way of the rename.
      if (!existsSync(pair)) throw error;
    }
  }
  const publicKey = await readFile(join(pair, `${keyName}.pub`), 'utf8');
  return { privateKeyFile: join(pair, keyName), publicKey: publicKey.trimEnd() };
}

async function makeKey(folder: string): Promise<void> {
  const file = join(folder, keyName);
  try {
    await execa(
      'ssh-keygen',
      ['-q', '-t', 'ed25519', '-N', '', '-C', 'tsvswitch-lab', '-f', file],
      {
        stdin: 'ignore',
        timeout: makeLimitMs,
      },
    );
  } catch (cause) {
    if (!(cause instanceof ExecaError)) throw cause;
    if (cause.code === 'ENOENT') {
      throw failure('ssh-keygen-missing', {}, { cause });
    }
    throw failure(
      'ssh-key-failed',
      { folder, cause: cause.stderr || cause.shortMessage },
      { cause },
    );
  }
}
