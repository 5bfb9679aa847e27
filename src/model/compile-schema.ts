/** A step of the build: writes what settings.ts compiles to beside schema.ts. */

import { writeFileSync } from 'node:fs';
import standalone from 'ajv/dist/standalone/index.js';
import { compile, compiledFile } from './schema.ts';
import { switchSettings } from './settings.ts';

const { ajv, validate } = compile(switchSettings);
writeFileSync(compiledFile, standalone.default(ajv, validate));
