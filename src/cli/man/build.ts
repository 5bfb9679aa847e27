/** Writes the manual page beside the program; run by the build. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commandTree } from '../command-tree.ts';
import { manPage } from './page.ts';

const folder = fileURLToPath(new URL('../../man/', import.meta.url));

mkdirSync(folder, { recursive: true });
// The same bytes each time, for whoever says when it is (reproducible-builds.org).
const epoch = process.env.SOURCE_DATE_EPOCH;
const built = epoch === undefined ? new Date() : new Date(Number(epoch) * 1000);
writeFileSync(
  `${folder}tsvswitch.1`,
  manPage(await commandTree(), built.toISOString().slice(0, 10)),
);
