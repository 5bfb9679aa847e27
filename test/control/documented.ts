/** What openapi.json says of answers, as a check of them. */

import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import { findOperation } from '../../src/control/router.ts';

interface Answer {
  readonly status: number;
  readonly text: string;
}

const document = JSON.parse(readFileSync('openapi.json', 'utf8'));
const ajv = new Ajv({ strict: false, formats: { 'date-time': !0 }, allErrors: true });
ajv.addSchema(document, 'openapi.json');

/** In the words of ajv; none if `answer` is as documented. */
export function misfitsOfAnswer(method: string, path: string, answer: Answer): string[] {
  const { status, text } = answer;
  const validate = validatorOf(method, path.split('?')[0]!, status);
  if (validate === undefined)
    return text === '' ? [] : [`an answer that is not documented: ${text}`];
  validate(JSON.parse(text));
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

function validatorOf(method: string, path: string, status: number): ValidateFunction | undefined {
  if (status >= 400) return ajv.getSchema('openapi.json#/components/schemas/Refused');
  const { operation } = findOperation(method, path)!;
  const escaped = operation.path.replaceAll('~', '~0').replaceAll('/', '~1');
  const at = `/paths/${escaped}/${method.toLowerCase()}/responses/${status}`;
  return ajv.getSchema(`openapi.json#${at}/content/application~1json/schema`);
}
