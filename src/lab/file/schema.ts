/**
 * lab.schema.json as a function that checks a definition and fills in what it leaves to defaults.
 *
 * Loading ajv and compiling the schema takes longer than all the rest of `tsvswitch lab status`, so
 * the build does it once (compile-schema.ts) and leaves the function as a module beside this one.
 * Where that is not there, as among the sources, the schema is compiled when it is first needed.
 */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Ajv, ValidateFunction } from 'ajv';

/** From src/lab/file as well as from dist/lab/file. */
const schemaFile = new URL('../../../lab.schema.json', import.meta.url);
/** What the build leaves; CommonJS, since what ajv writes calls require(). */
export const compiledFile = fileURLToPath(new URL('./compiled-schema.cjs', import.meta.url));

const require = createRequire(import.meta.url);
let validator: ValidateFunction<unknown> | undefined;

export function schemaValidator(): ValidateFunction<unknown> {
  validator ??= existsSync(compiledFile)
    ? (require(compiledFile) as ValidateFunction<unknown>)
    : compileSchema().validate;
  return validator;
}

/** `ajv` is what the function was made with, and can write it down. */
export function compileSchema(): {
  readonly ajv: Ajv;
  readonly validate: ValidateFunction<unknown>;
} {
  const { Ajv } = require('ajv') as typeof import('ajv');
  const ajv = new Ajv({
    allErrors: true,
    useDefaults: true,
    verbose: true,
    allowUnionTypes: true,
    // A test does.
    validateSchema: false,
    // conflicts.ts looks at addresses: what is wrong with one takes more than a word.
    formats: { 'interface-address': true },
    code: { source: true },
  });
  // Editors show it, too.
  ajv.addKeyword({ keyword: 'patternErrorMessage', schemaType: 'string' });
  return { ajv, validate: ajv.compile(JSON.parse(readFileSync(schemaFile, 'utf8'))) };
}
