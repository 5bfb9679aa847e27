/**
 * Reads the body of a request and checks its shape, to the last field: what openapi.json says of
 * it. All that is wrong is told at once, each with the path of its field; nothing is filled in, and
 * nothing that is wrong is made right.
 */

import type { IncomingMessage } from 'node:http';
import type { AnySchema } from 'ajv';
import { type ErrorCode, failure, TsvswitchError } from '../model/errors.ts';

import { type Finding, findingsOf, isMapping, shown } from '../model/findings.ts';
import { type SchemaFiles, validatorOf } from '../model/schema.ts';
import { nearest, printable } from '../model/wording.ts';
import type { OperationId } from './operations.ts';
import type { Operations } from './protocol.ts';

/** An operation that takes a body. */
export type Taking = {
  [Id in OperationId]: Operations[Id] extends { body: unknown } ? Id : never;
}[OperationId];

/** An operation with a body that is checked here: settings are checked where they are applied. */
export type Checked = Exclude<Taking, 'applySettings'>;

/** Whether `id` takes a body. */
export function isTaking(id: OperationId): id is Taking {
  return id === 'applySettings' || id in shapes;
}

export type BodyOf<Id extends Taking> = Operations[Id]['body'];

/** A port to add takes some hundred. */
const bodyBytesMax = 65_536;
/** A thousand ports take some hundred thousand. */
const settingsBytesMax = 4 * 2 ** 20;
/** Whoever looks at a body calls itself for what is in it; no request needs half as many. */
const depthMax = 32;
/**
 * Keys and entries of a body. Whatever looks at one of them takes time, most of all what says that
 * it is wrong: 300,000 would hold up everybody else for a second.
 */
const valuesMax = 4096;
/** The most ports a switch may have, 1024, with all that can be said of each, take 25,000. */
const settingsValuesMax = 32_768;
/** More than anybody reads of one body. */
const findingsMax = 32;

/** From src/control as well as from dist/control. */
export const bodySchemas: SchemaFiles = {
  schema: new URL('../../openapi.json', import.meta.url),
  compiled: new URL('./compiled-bodies.cjs', import.meta.url),
  pick: schemaOfBodies,
  useDefaults: false,
};

/**
 * A body that is one of several shapes is told apart by the key that only its shape must have, the
 * first of those it must have.
 */
const shapes: Readonly<Record<Checked, readonly string[]>> = {
  addPort: ['path', 'connect'],
  changeNetwork: ['link', 'partition', 'heal'],
  addWorker: [],
  setLog: [],
};

/**
 * What embedding programs are told of these options they are told here, too; other fields have
 * always had a code of their own.
 */
const portOptions = ['allow', 'source', 'ringReset', 'inBand', 'mtu'];

/** A body that does not fit, with the first of the fields that are why. */
export class MisfitError extends TsvswitchError {
  readonly findings: readonly Finding[];

  /** `whole` is what a sentence calls the body. */
  constructor(code: ErrorCode, all: readonly Finding[], whole = 'the body') {
    const findings = all.slice(0, findingsMax);
    const rest = all.length > findingsMax ? [`${all.length - findingsMax} more`] : [];
    super(code, [...findings.map((finding) => sentenceOf(finding, whole)), ...rest].join('; '));
    this.findings = findings;
  }
}

/**
 * What has come whole within `limitMs`. Throws CONTROL_BODY_TOO_LONG, CONTROL_TIMEOUT,
 * CONTROL_BAD_REQUEST, BAD_OPTION.
 */
export async function bodyOf<Id extends Taking>(
  id: Id,
  request: IncomingMessage,
  limitMs: number,
): Promise<BodyOf<Id>> {
  const isSettings = id === 'applySettings';
  const text = await textOf(request, limitMs, isSettings ? settingsBytesMax : bodyBytesMax);
  checkExtent(text, isSettings ? settingsValuesMax : valuesMax);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw failure('body-no-json', { cause: (cause as Error).message }, { cause });
  }
  return isSettings ? (body as BodyOf<Id>) : (checkBody(id as Checked, body) as BodyOf<Id>);
}

/** Throws CONTROL_BAD_REQUEST, BAD_OPTION. */
export function checkBody<Id extends Checked>(id: Id, body: unknown): BodyOf<Id> {
  const findings = findingsIn(id, body);
  if (findings.length > 0) throw new MisfitError(codeOf(id, findings), findings);
  return body as BodyOf<Id>;
}

function findingsIn(id: Checked, body: unknown): readonly Finding[] {
  const keys = shapes[id];
  const shape = isMapping(body) ? keys.find((key) => Object.hasOwn(body, key)) : keys[0];
  if (shape === undefined && keys.length > 0) return missing(keys, body as object);
  const name = shapeName(id, shape);
  const validate = validatorOf(bodySchemas);
  if (validate({ [name]: body })) return [];
  return findingsOf(validate.errors ?? []).map((finding) => ({
    ...finding,
    path: finding.path.slice(1),
  }));
}

/** None of the keys that would tell which shape is meant. */
function missing(keys: readonly string[], body: object): readonly Finding[] {
  const slips = Object.keys(body).flatMap((key): Finding[] => {
    const meant = nearest(key, keys);
    const sentence = `there is no such key; did you mean ${meant}?`;
    return meant === undefined ? [] : [{ path: [key], part: 'key', sentence }];
  });
  if (slips.length > 0) return slips;
  const list = `${keys.slice(0, -1).join(', ')} or ${keys.at(-1)}`;
  const sentence = `${list} is missing, and this is ${shown(body)}`;
  return [{ path: [], part: 'value', sentence }];
}

function codeOf(id: Checked, findings: readonly Finding[]): ErrorCode {
  const isOption = ({ path }: Finding) => path.length > 0 && portOptions.includes(path[0]!);
  return id === 'addPort' && !findings.every(isOption) ? 'CONTROL_BAD_REQUEST' : 'BAD_OPTION';
}

function sentenceOf({ path, sentence }: Finding, whole: string): string {
  return printable(`${path.length === 0 ? whole : path.join('.')}: ${sentence}`);
}

function shapeName(id: string, shape: string | undefined): string {
  return shape === undefined ? id : `${id}.${shape}`;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
}

interface DocumentedOperation {
  readonly operationId: string;
  readonly requestBody?: { readonly content: { readonly 'application/json': { schema: Shape } } };
}

type Shape = { readonly required?: readonly string[]; readonly anyOf?: readonly Shape[] };

/** One object with a property for each shape of a body. */
function schemaOfBodies(file: unknown): AnySchema {
  const all = Object.values((file as Document).paths).flatMap((path) => Object.values(path));
  const properties = all.flatMap(({ operationId, requestBody }) => {
    const schema = requestBody?.content['application/json'].schema;
    if (schema === undefined || !Object.hasOwn(shapes, operationId)) return [];
    if (schema.anyOf === undefined) return [[operationId, schema] as const];
    return schema.anyOf.map(
      (shape) => [shapeName(operationId, shape.required![0]), shape] as const,
    );
  });
  return { type: 'object', properties: Object.fromEntries(properties) };
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [beginList, endList, beginMapping, endMapping] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * That what is JSON is neither deep nor large, before anything is made of it; of other texts it
 * does not matter. Throws CONTROL_BAD_REQUEST, CONTROL_BODY_TOO_LONG.
 */
function checkExtent(text: string, valuesMost: number): void {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === quote) at = endOfString(text, at);
    else if (character === comma) values++;
    else if (character === beginList || character === beginMapping) {
      depth++;
      values++;
    } else if (character === endList || character === endMapping) depth--;
    if (depth > depthMax) throw failure('body-too-deep', { max: depthMax });
    if (values > valuesMost) throw failure('body-too-many', { max: valuesMost });
  }
}

/** Where the quotation mark is that ends what begins with the one at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== quote) {
    at += text.charCodeAt(at) === backslash ? 2 : 1;
  }
  return at;
}

function textOf(request: IncomingMessage, limitMs: number, bytesMax: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const limit = setTimeout(() => {
      reject(failure('body-late', { seconds: limitMs / 1000 }));
    }, limitMs).unref();
    const end = (settle: () => void) => {
      clearTimeout(limit);
      settle();
    };
    // What is too much is read on, so that the client gets to read its answer, but not kept.
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) chunks.push(chunk);
      else {
        end(() => reject(failure('body-too-long', { max: bytesMax })));
      }
    });
    request.once('end', () => end(() => resolve(Buffer.concat(chunks).toString())));
    request.once('error', (error) => end(() => reject(error)));
  });
}
