/**
 * Requests over TCP, as options or a file ask for them: reads the files of the certificate, its key
 * and the tokens, and listens. All before the process confines itself.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { TcpListener, type TlsFiles } from '../control/tcp/listener.ts';
import { tokenIn } from '../control/tcp/token-file.ts';
import { failure } from '../model/errors.ts';
import type { ListenSettings } from '../operate/settings.ts';
import { contentOf } from './control-client.ts';

const othersMayRead = 0o004;

export interface RemoteControl {
  readonly listener: TcpListener;
  /** Where its token is. */
  readonly tokenFile: string;
  /** Takes the certificate as it is now. Throws BAD_OPTION, and has then changed nothing. */
  readonly renew: () => void;
}

/**
 * `stateFolder` has the token unless a file is named. `fd` is a socket that listens already. Throws
 * what TcpListener.listen throws.
 */
export async function remoteControl(
  settings: string | ListenSettings,
  stateFolder: string,
  fd?: number,
): Promise<RemoteControl> {
  const listen = typeof settings === 'string' ? { address: settings } : settings;
  const tls = tlsOf(listen);
  const tokenFile = listen.token ?? join(stateFolder, 'token');
  const options = {
    address: listen.address,
    token: tokenIn(tokenFile),
    ...(listen.readToken === undefined ? {} : { readToken: tokenIn(listen.readToken) }),
    ...(tls === undefined ? {} : { tls }),
  };
  const listener = await TcpListener.listen(options, fd);
  const renew = () => {
    const now = tlsOf(listen);
    if (now !== undefined) listener.renew(now);
  };
  return { listener, tokenFile, renew };
}

function tlsOf({ certificate, key }: ListenSettings): TlsFiles | undefined {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    const [given, missing] = key === undefined ? ['certificate', 'key'] : ['key', 'certificate'];
    throw failure('listen-half-tls', { given, missing });
  }
  const files = { certificate: contentOf('certificate', certificate), key: contentOf('key', key) };
  const { mode } = statSync(key);
  if ((mode & othersMayRead) !== 0) {
    throw failure('listen-key-open', { path: key, mode: (mode & 0o777).toString(8) });
  }
  return files;
}
