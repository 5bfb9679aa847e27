/** The last step of the build: writes what lab.schema.json compiles to beside schema.ts. */

import { writeCompiled } from '../../model/compile-schema.ts';
import { labSchema } from './schema.ts';

writeCompiled(labSchema);
