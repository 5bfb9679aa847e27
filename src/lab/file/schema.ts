/** lab.schema.json as a function (model/schema.ts). */

import type { ValidateFunction } from 'ajv';
import { type SchemaFiles, validatorOf } from '../../model/schema.ts';

/** From src/lab/file as well as from dist/lab/file. */
export const labSchema: SchemaFiles = {
  schema: new URL('../../../lab.schema.json', import.meta.url),
  compiled: new URL('./compiled-schema.cjs', import.meta.url),
  // conflicts.ts looks at addresses.
  formats: ['interface-address'],
};

export function schemaValidator(): ValidateFunction<unknown> {
  return validatorOf(labSchema);
}
