/**
 * A step of the build: prints the schema of settings, and writes what schemas compile to beside
 * whoever needs it.
 */

import { writeFileSync } from 'node:fs';
import standalone from 'ajv/dist/standalone/index.js';
import { compile, type SchemaFiles, settingsSchema } from './schema.ts';
import { switchSettings } from './settings-schema.ts';

export function writeCompiled(files: SchemaFiles): void {
  const { ajv, validate } = compile(files);
  writeFileSync(files.compiled, standalone.default(ajv, validate));
}

writeFileSync(settingsSchema.schema, `${JSON.stringify(switchSettings, undefined, 2)}\n`);
writeCompiled(settingsSchema);
