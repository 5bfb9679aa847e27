/** The last step of the build: writes what lab.schema.json compiles to beside schema.ts. */

import { writeFileSync } from 'node:fs';
import standalone from 'ajv/dist/standalone/index.js';
import { compiledFile, compileSchema } from './schema.ts';

const { ajv, validate } = compileSchema();
writeFileSync(compiledFile, standalone.default(ajv, validate));
