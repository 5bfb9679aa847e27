/**
 * Who may do what over TCP: by the token of each request, after it was made sure that the request
 * is meant for this switch.
 *
 *     Host    names an IP address, localhost, or what the certificate names: whoever makes a name
 *             of theirs lead here, so that a page of theirs may ask (DNS rebinding), has another
 *     Origin  if a browser says one, is the switch's own: no page of another server may ask
 *     token   compared by its hash, in a time that says nothing about it; also on loopback, which
 *             every user of the host and every page in a browser there reaches
 *
 * Sources: RFC 6750 §2.1, RFC 6454 §7, RFC 9112 §3.2.
 */

import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { failure } from '../../model/errors.ts';
import { printable } from '../../model/wording.ts';
import type { Access } from '../operations.ts';
import { checkToken } from './token-file.ts';

/** What lets a request in. */
export interface Tokens {
  /** May do everything. */
  readonly token: string;
  /** May look, and change nothing. */
  readonly readToken?: string;
}

export class Gate {
  readonly #scheme: 'http' | 'https';
  readonly #certificate: X509Certificate | undefined;
  readonly #all: Buffer;
  readonly #read: Buffer | undefined;

  /** `certificate` in PEM; without one, plain HTTP. Throws BAD_OPTION. */
  constructor({ token, readToken }: Tokens, certificate: string | Buffer | undefined) {
    this.#all = digest(checkToken(token, 'the token'));
    if (readToken !== undefined) {
      if (readToken === token) throw failure('token-twice');
      this.#read = digest(checkToken(readToken, 'the token of readers'));
    }
    this.#scheme = certificate === undefined ? 'http' : 'https';
    this.#certificate = certificate === undefined ? undefined : new X509Certificate(certificate);
  }

  /** Throws CONTROL_FOREIGN, CONTROL_UNAUTHORIZED. */
  accessOf({ headers }: Pick<IncomingMessage, 'headers'>): Access {
    const { host = '', origin, authorization } = headers;
    if (!this.#isOwn(host)) {
      throw failure('host-foreign', { host: host === '' ? 'nobody' : printable(host) });
    }
    const own = `${this.#scheme}://${host}`;
    if (origin !== undefined && origin !== own) {
      throw failure('origin-foreign', { origin: printable(origin), own });
    }
    return this.#accessWith(authorization);
  }

  /** `host` may have a port, which says nothing: requests are forwarded from others. */
  #isOwn(host: string): boolean {
    const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(host) ?? [];
    const name = bracketed ?? plain ?? '';
    if (isIP(name) === (bracketed === undefined ? 4 : 6) || name === 'localhost') return true;
    return name !== '' && this.#certificate?.checkHost(name) !== undefined;
  }

  #accessWith(authorization: string | undefined): Access {
    const [, token] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
    if (token === undefined) throw failure('token-missing');
    const given = digest(token);
    // Both are compared, whichever it is.
    const [mayAll, mayRead] = [isSame(given, this.#all), isSame(given, this.#read)];
    if (mayAll) return 'all';
    if (mayRead) return 'read';
    throw failure('token-wrong');
  }
}

/** All digests have one length, as a comparison in constant time needs. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function isSame(given: Buffer, known: Buffer | undefined): boolean {
  return timingSafeEqual(given, known ?? Buffer.alloc(given.length));
}
