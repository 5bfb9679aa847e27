/** Which version of the package this is. */

import { readFileSync } from 'node:fs';

// One level up from src/ as from dist/.
const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');

export const version = (JSON.parse(manifest) as { version: string }).version;
