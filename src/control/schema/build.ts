/** A step of the build: prints openapi.json, and writes what its bodies compile to. */

import { writeFileSync } from 'node:fs';
import { writeCompiled } from '../../model/compile-schema.ts';
import { version } from '../../runtime/version.ts';
import { bodySchemas } from '../bodies.ts';
import { openApi } from './openapi.ts';

writeFileSync(bodySchemas.schema, `${JSON.stringify(openApi(version), undefined, 2)}\n`);
writeCompiled(bodySchemas);
