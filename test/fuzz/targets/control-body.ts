/**
 * The body of a request on the control socket, from its bytes to the port it asks for.
 *
 * Whatever it is, it is a port with one absolute, printable path and a mode of three octal digits,
 * or it is refused in one sentence.
 */

import assert from 'node:assert/strict';
import { isAbsolute } from 'node:path';
import { checkBody } from '../../../src/control/bodies.ts';
import { newPortOf } from '../../../src/control/new-port.ts';
import { TsvswitchError } from '../../../src/model/errors.ts';

export function fuzz(data: Uint8Array): void {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(data).toString());
  } catch {
    return;
  }
  let port: Record<string, unknown>;
  try {
    port = { ...newPortOf(checkBody('addPort', body), { mode: 0o640 }) };
  } catch (error) {
    assert(error instanceof TsvswitchError, error as Error);
    assert(['CONTROL_BAD_REQUEST', 'BAD_OPTION'].includes(error.code), error);
    assert.notEqual(error.message, '');
    return;
  }
  const { name, bridge, path, connect, mode, group, ...others } = port;
  const { allow, source, ringReset, inBand, mtu, ...unknown } = others;
  assert.deepEqual(unknown, {});
  assert.equal(path === undefined, connect !== undefined);
  for (const text of [name, bridge, path, connect]) {
    assert(text === undefined || (typeof text === 'string' && /^\P{C}+$/u.test(text)));
  }
  assert(isAbsolute(String(path ?? connect)));
  assert(
    mode === undefined || (Number.isInteger(mode) && Number(mode) >= 0 && Number(mode) <= 0o777),
  );
  assert(group === undefined || typeof group === 'number' || typeof group === 'string');
}
