/** Which version of the package this is, and which Node it is for: what package.json says. */

import { readFileSync } from 'node:fs';

// Two levels up from src/runtime as from dist/runtime.
const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
const manifest = JSON.parse(text) as { version: string; engines: { node: string } };

export const version = manifest.version;
/** Major and minor. */
export const oldestNode = manifest.engines.node.replace('>=', '');
