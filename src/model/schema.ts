/**
 * The schema of settings as a function that checks a document and fills in what it leaves to defaults.
 *
 * Loading ajv and typebox and compiling takes longer than starting a switch, so the build does it once
 * (compile-schema.ts) and leaves the function as a module beside this one. Where it is not
 * there, as among the sources, the schema is compiled when it is first needed.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Ajv, AnySchema, ValidateFunction } from 'ajv';

/** What the build leaves; CommonJS, since what ajv writes calls require(). */
export const compiledFile = fileURLToPath(new URL('./compiled-settings.cjs', import.meta.url));

const require = createRequire(import.meta.url);
/** Among the sources alone. */
const sources = existsSync(compiledFile) ? undefined : await import('./settings.ts');
let validator: ValidateFunction<unknown> | undefined;

export function settingsValidator(): ValidateFunction<unknown> {
  validator ??=
    sources === undefined
      ? (require(compiledFile) as ValidateFunction<unknown>)
      : compile(sources.switchSettings).validate;
  return validator;
}

/** `ajv` is what the function was made with, and can write it down. */
export function compile(schema: AnySchema): {
  readonly ajv: Ajv;
  readonly validate: ValidateFunction<unknown>;
} {
  const { Ajv } = require('ajv') as typeof import('ajv');
  const ajv = new Ajv({
    allErrors: true,
    useDefaults: true,
    verbose: true,
    allowUnionTypes: true,
    discriminator: true,
    // A test does.
    validateSchema: false,
    code: { source: true },
  });
  // Editors show it, too.
  ajv.addKeyword({ keyword: 'patternErrorMessage', schemaType: 'string' });
  return { ajv, validate: ajv.compile(schema) };
}
