/**
 * A JSON schema as a function that checks a document and fills in what it leaves to defaults.
 *
 * Loading ajv and compiling a schema takes longer than starting a switch, so the build does it once
 * (compile-schema.ts) and leaves the function as a module beside whoever needs it. Where that is
 * not there, as among the sources, the schema is compiled when it is first needed.
 */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Ajv, AnySchema, ValidateFunction } from 'ajv';

/** A schema at the root of the package, and what the build leaves of it. */
export interface SchemaFiles {
  readonly schema: URL;
  /** CommonJS, since what ajv writes calls require(). */
  readonly compiled: URL;
  /** Formats that others check: what is wrong with such a text takes more than a word. */
  readonly formats?: readonly string[];
  /** Finds the schema in the file, which is one unless given. */
  readonly pick?: (file: unknown) => AnySchema;
  /** Whether what is left out is filled in; it is unless given. */
  readonly useDefaults?: boolean;
}

/** Of a switch. From src/model as well as from dist/model. */
export const settingsSchema: SchemaFiles = {
  schema: new URL('../../settings.schema.json', import.meta.url),
  compiled: new URL('./compiled-settings.cjs', import.meta.url),
};

const require = createRequire(import.meta.url);
const validators = new Map<SchemaFiles, ValidateFunction<unknown>>();

export function validatorOf(files: SchemaFiles): ValidateFunction<unknown> {
  let validator = validators.get(files);
  if (validator === undefined) {
    const compiled = fileURLToPath(files.compiled);
    validator = existsSync(compiled)
      ? (require(compiled) as ValidateFunction<unknown>)
      : compile(files).validate;
    validators.set(files, validator);
  }
  return validator;
}

/** `ajv` is what the function was made with, and can write it down. */
export function compile(files: SchemaFiles): {
  readonly ajv: Ajv;
  readonly validate: ValidateFunction<unknown>;
} {
  const { schema, formats = [], pick = (file) => file as AnySchema, useDefaults = true } = files;
  const { Ajv } = require('ajv') as typeof import('ajv');
  const ajv = new Ajv({
    allErrors: true,
    useDefaults,
    verbose: true,
    allowUnionTypes: true,
    discriminator: true,
    // A test does.
    validateSchema: false,
    formats: Object.fromEntries(formats.map((name) => [name, true])),
    code: { source: true },
  });
  // Editors show it, too.
  ajv.addKeyword({ keyword: 'patternErrorMessage', schemaType: 'string' });
  return { ajv, validate: ajv.compile(pick(JSON.parse(readFileSync(schema, 'utf8')))) };
}
