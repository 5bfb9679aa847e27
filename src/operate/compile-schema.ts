/** A step of the build: prints tsvswitch.schema.json, and writes what it compiles to. */

import { writeFileSync } from 'node:fs';
import { writeCompiled } from '../model/compile-schema.ts';
import { configSchema } from './config-file.ts';
import { configFile } from './settings-schema.ts';

writeFileSync(configSchema.schema, `${JSON.stringify(configFile, undefined, 2)}\n`);
writeCompiled(configSchema);
