/** Which version of the package this is, and which Node it is for: what package.json says. */

import { existsSync, readFileSync } from 'node:fs';

/** The nearest one above: src/, dist/ and what is built for measuring lie at different depths. */
function packageFile(): URL {
  const levelsMax = 8;
  let folder = new URL('.', import.meta.url);
  for (let level = 0; level < levelsMax; level++) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) return file;
    folder = new URL('..', folder);
  }
  throw new Error(`there is no package.json above ${import.meta.url}`);
}

const text = readFileSync(packageFile(), 'utf8');
const manifest = JSON.parse(text) as { version: string; engines: { node: string } };

export const version = manifest.version;
/** Major and minor. */
export const oldestNode = manifest.engines.node.replace('>=', '');
