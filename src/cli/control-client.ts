/**
 * The options with which a command finds its switch, and the client they lead to: a control socket,
 * or over TCP a URL with a token.
 *
 * Both are files, as the command line of a process is no secret on its host. The variables
 * TSVSWITCH_TOKEN_FILE and TSVSWITCH_CA stand for the options.
 */

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ControlClient } from '../control/client.ts';
import { type Credentials, isUrl } from '../control/server-address.ts';
import { knownToken } from '../control/tcp/token-file.ts';
import { failure } from '../model/errors.ts';
import { controlDescription, controlPath } from './control-path.ts';

/** Which switch is meant. */
export interface Which {
  readonly control?: string;
  /** Files. */
  readonly token?: string;
  readonly ca?: string;
}

export function addWhich(command: Command): Command {
  return command
    .option('--control <path>', controlDescription)
    .option('--token <file>', 'the token, where --control is a URL')
    .option('--ca <file>', 'who signed the certificate of the switch, where --control is a URL');
}

/** `command` as people type it. Throws what controlPath() and ControlClient.connect() throw. */
export async function controlClient(which: Which, command: string): Promise<ControlClient> {
  const where = await controlPath(which.control, command);
  return ControlClient.connect(where, isUrl(where) ? credentialsOf(which) : {});
}

/** Throws BAD_OPTION for files that cannot be read. */
function credentialsOf({ token, ca }: Which): Credentials {
  const tokenFile = token ?? process.env.TSVSWITCH_TOKEN_FILE;
  const caFile = ca ?? process.env.TSVSWITCH_CA;
  return {
    ...(tokenFile === undefined ? {} : { token: knownToken(tokenFile) }),
    ...(caFile === undefined ? {} : { ca: contentOf('certificate', caFile) }),
  };
}

/** `what` names it. Throws BAD_OPTION. */
export function contentOf(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw failure('listen-file', { what, path, cause: (cause as Error).message }, { cause });
  }
}
