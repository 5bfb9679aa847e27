/** An authority of our own, and certificates that it signs, made by OpenSSL. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

export interface Certificates {
  /** Paths of PEM files. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** For the DNS names and IP addresses given, such as `DNS:switch.example`. */
export async function makeCertificates(folder: string, names: string[]): Promise<Certificates> {
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execa('openssl', args, { timeout: 60_000 });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=test authority'],
    ...['-keyout', at('ca.key'), '-out', at('ca.pem')],
  );
  await openssl(
    ...['req', ...newKey, '-subj', '/CN=switch'],
    ...['-keyout', at('key.pem'), '-out', at('request.pem')],
  );
  writeFileSync(at('names'), `subjectAltName=${names.join(',')}\n`);
  await openssl(
    ...['x509', '-req', '-in', at('request.pem'), '-CA', at('ca.pem'), '-CAkey', at('ca.key')],
    ...['-days', '2', '-extfile', at('names'), '-out', at('certificate.pem')],
  );
  return { ca: at('ca.pem'), certificate: at('certificate.pem'), key: at('key.pem') };
}

export function tlsOf({ certificate, key }: Certificates) {
  return { certificate: readFileSync(certificate), key: readFileSync(key) };
}
