/**
 * Where a client finds its switch: at the path of a control socket, or over TCP at a URL, with a
 * token that goes along with every request.
 *
 * A token is given to nobody who could be another: over TLS the server's certificate has to be
 * signed by who is trusted, and plain HTTP goes no further than this host.
 *
 * What TCP needs is loaded when it is asked for.
 */

import { type AgentOptions, type ClientRequest, Agent as HttpAgent, request } from 'node:http';
import type { AgentOptions as SecureAgentOptions } from 'node:https';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { isLoopback } from '../model/tcp-address.ts';
import { checkToken } from './tcp/token-file.ts';

/** What a switch over TCP asks for, and what it is trusted by. */
export interface Credentials {
  /** Absent: the switch says that it needs one. */
  readonly token?: string;
  /** In PEM: who signed the certificate of the switch; those that Node trusts unless given. */
  readonly ca?: string | Buffer;
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly agent: HttpAgent;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ServerAddress {
  readonly isRemote: boolean;
  readonly newAgent: (options?: AgentOptions) => HttpAgent;
  readonly request: (asked: Asked) => ClientRequest;
  /** Why there was no answer. */
  readonly unreachable: (cause: Error) => TsvswitchError;
}

/** Linux unix(7): sun_path holds 108 bytes, the last one a zero. */
const socketPathBytesMax = 107;
/** A client ends its side of a capture, and still reads the last packets. */
const whole = { allowHalfOpen: true } as object;

/** Throws BAD_OPTION for what cannot be a URL of a switch. */
export async function serverAddress(
  where: string,
  credentials: Credentials,
): Promise<ServerAddress> {
  return isUrl(where) ? ofUrl(where, credentials) : ofSocket(where);
}

/** Whether `where` is no path. */
export function isUrl(where: string): boolean {
  return /^https?:/i.test(where);
}

function ofSocket(path: string): ServerAddress {
  return {
    isRemote: false,
    newAgent: (options) => new HttpAgent(options),
    request: (asked) => request({ socketPath: path, ...asked }),
    unreachable: (cause) => {
      const bytes = Buffer.byteLength(path);
      if (bytes > socketPathBytesMax) {
        return failure(
          'control-path-too-long',
          { path, bytes, max: socketPathBytesMax },
          { cause },
        );
      }
      return failure('control-unreachable', { path, cause: cause.message }, { cause });
    },
  };
}

async function ofUrl(where: string, { token, ca }: Credentials): Promise<ServerAddress> {
  const url = checkedUrl(where);
  const own =
    token === undefined ? {} : { authorization: `Bearer ${checkToken(token, 'the token')}` };
  const place = { host: bareHost(url), port: url.port };
  const requested = ({ headers, ...asked }: Asked) => ({
    ...{ ...place, ...asked },
    headers: { ...own, ...headers },
  });
  const unreachable = (cause: Error) => {
    const parameters = { url: url.origin, cause: cause.message };
    const fault = isOfTrust(cause) ? 'control-untrusted' : 'control-unreachable-url';
    return failure(fault, parameters, { cause });
  };
  if (url.protocol === 'http:') {
    return {
      isRemote: true,
      newAgent: (options) => new HttpAgent({ ...options, ...whole }),
      request: (asked) => request(requested(asked)),
      unreachable,
    };
  }
  const { Agent: SecureAgent, request: secureRequest } = await import('node:https');
  const trust: SecureAgentOptions = ca === undefined ? {} : { ca };
  return {
    isRemote: true,
    newAgent: (options) => new SecureAgent({ ...options, ...whole, ...trust }),
    request: (asked) => secureRequest(requested(asked)),
    unreachable,
  };
}

/** With a host and a port, and nothing else that would be left out. */
function checkedUrl(where: string): URL {
  let url: URL;
  try {
    url = new URL(where);
  } catch (cause) {
    throw failure('control-url', { url: where }, { cause });
  }
  const isBare = url.href === `${url.origin}/`;
  const isSafe = url.protocol === 'https:' || isOfThisHost(bareHost(url));
  if (!isBare || !isSafe) throw failure('control-url', { url: where });
  return url;
}

function isOfThisHost(host: string): boolean {
  return host === 'localhost' || (/^[\d.]+$|:/.test(host) && isLoopback(host));
}

/** Without the brackets of an IPv6 address. */
function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Of the certificate of the server, and not of the way to it. */
function isOfTrust(cause: Error): boolean {
  const { code = '' } = cause as NodeJS.ErrnoException;
  return /CERT|SELF_SIGNED|ALTNAME|UNABLE_TO_/.test(code);
}
