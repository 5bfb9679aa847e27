/** A TCP address to listen on, as it is written in options and files. */

import { BlockList, isIP, isIPv6 } from 'node:net';
import { failure } from './errors.ts';

export interface TcpAddress {
  /** An IP address; absent: all of this host's. */
  readonly host?: string;
  /** 0: any that is free. */
  readonly port: number;
}

/**
 * Such as `127.0.0.1:9477`, `[::1]:9477` or `:9477`. `fault` has the sentence for what is none.
 * Throws BAD_OPTION.
 */
export function tcpAddressOf(
  text: string,
  fault: 'metrics-address' | 'listen-address',
): TcpAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  const isHost =
    bracketed === undefined ? host === '' || isIP(host ?? '') === 4 : isIP(host!) === 6;
  if (!isHost || !(port <= 65_535)) throw failure(fault, { text });
  return { ...(host === '' ? {} : { host: host! }), port };
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** Whether only processes of this host reach it. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

/** As in a URL. */
export function urlHost(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}
