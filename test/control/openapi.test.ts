/**
 * openapi.json: that it is what the sources say, agrees with the types, describes every answer, and
 * takes nothing away that it had in a release. A release leaves its document in
 * test/control/released.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Static, TSchema } from 'typebox';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { operations } from '../../src/control/operations.ts';
import type { Operations } from '../../src/control/protocol.ts';
import { type answers, named, type streams } from '../../src/control/schema/answers.ts';
import { type Bodies, bodies } from '../../src/control/schema/bodies.ts';
import { openApi } from '../../src/control/schema/openapi.ts';
import type { EventsLost, SwitchEvent } from '../../src/index.ts';
import { version } from '../../src/runtime/version.ts';
import { removals } from './removals.ts';

const printed = JSON.parse(readFileSync('openapi.json', 'utf8'));
const released = join('test', 'control', 'released');

/** Without `readonly`, which a schema does not know. */
type Plain<Value> = Value extends bigint | string | number | boolean | undefined
  ? Value
  : { -readonly [Key in keyof Value]: Plain<Value[Key]> };

type AnswerOf<Id extends keyof typeof answers> = (typeof answers)[Id] extends TSchema
  ? Static<(typeof answers)[Id]>
  : undefined;

/** Each can stand for the other. */
type Same<One, Other> = [One] extends [Other] ? ([Other] extends [One] ? true : false) : false;

test('the document is what the schemas say, and is shipped', () => {
  expect(printed).toEqual(JSON.parse(JSON.stringify(openApi(version))));
  const { exports, files } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(exports['./openapi.json']).toBe('./openapi.json');
  expect(files).toContain('openapi.json');
});

test('the schemas are those of the types', () => {
  expectTypeOf<{
    [Id in keyof Bodies]: Same<Plain<Bodies[Id]>, Plain<Operations[Id]['body']>>;
  }>().toEqualTypeOf<{ [Id in keyof Bodies]: true }>();
  expectTypeOf<{
    [Id in keyof typeof answers]: Same<AnswerOf<Id>, Plain<Operations[Id]['answer']>>;
  }>().toEqualTypeOf<{ [Id in keyof typeof answers]: true }>();
  type Event = Static<(typeof streams)['readEvents']['application/jsonl']>;
  expectTypeOf<Same<Plain<Event>, Plain<SwitchEvent | EventsLost>>>().toEqualTypeOf<true>();
});

test('every schema in it is one of JSON Schema 2020-12', () => {
  const ajv = new Ajv2020({ strict: false });
  const all: TSchema[] = [...Object.values(named), ...Object.values(bodies)];
  for (const schema of all) {
    expect(ajv.validateSchema(JSON.parse(JSON.stringify(schema)))).toBe(true);
  }
});

test('every operation has its place in it, with the names that its path has', () => {
  const places = Object.entries<Record<string, { operationId: string }>>(printed.paths).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, { operationId }]) => [
        operationId,
        `${method.toUpperCase()} ${path}`,
      ]),
  );
  expect(Object.fromEntries(places)).toEqual(
    Object.fromEntries(
      Object.entries(operations).map(([id, { method, path }]) => [id, `${method} ${path}`]),
    ),
  );
});

describe('nothing is taken away', () => {
  test.each(readdirSync(released))('that %s had', (file) => {
    const then = JSON.parse(readFileSync(join(released, file), 'utf8'));
    expect(removals(then, printed)).toEqual([]);
  });
});

/** A document with one of everything. */
function sample() {
  const answer = {
    type: 'object',
    required: ['name'],
    properties: {
      name: { type: 'string' },
      kind: { type: 'string', enum: ['a', 'b'] },
      list: { type: 'array', items: { $ref: '#/components/schemas/Item' } },
      either: {
        anyOf: [
          { type: 'object', title: 'A' },
          { type: 'object', title: 'B' },
        ],
      },
    },
  };
  const body = {
    type: 'object',
    additionalProperties: false,
    required: ['path'],
    properties: {
      path: { type: 'string', maxLength: 100, pattern: '^/' },
      mtu: { type: 'integer', minimum: 68, maximum: 9000 },
      mode: { type: 'string', enum: ['x', 'y'] },
    },
  };
  return {
    paths: {
      '/v1/x': {
        get: {
          responses: { 200: { content: { 'application/json': { schema: answer } } } },
        },
        post: {
          requestBody: { content: { 'application/json': { schema: body } } },
          responses: { 204: {} },
        },
      },
    },
    components: {
      schemas: {
        Item: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } },
      },
    },
  };
}

type Sample = ReturnType<typeof sample>;
const bodyIn = (document: Sample) =>
  document.paths['/v1/x'].post.requestBody.content['application/json'].schema;
const answerIn = (document: Sample) =>
  document.paths['/v1/x'].get.responses[200].content['application/json'].schema;

describe('is found to be taken away:', () => {
  test.each<[string, (document: Sample) => void, string]>([
    ['a path', (d) => Reflect.deleteProperty(d.paths, '/v1/x'), '/v1/x'],
    ['a method', (d) => Reflect.deleteProperty(d.paths['/v1/x'], 'post'), '/v1/x post'],
    ['a status', (d) => Reflect.deleteProperty(d.paths['/v1/x'].get.responses, 200), 'get 200'],
    ['a field of an answer', (d) => Reflect.deleteProperty(answerIn(d).properties, 'kind'), 'kind'],
    ['that a field is there', (d) => answerIn(d).required.pop(), 'name'],
    ['a word of an answer', (d) => answerIn(d).properties.kind.enum.pop(), 'kind'],
    [
      'the type of a field',
      (d) => void Object.assign(answerIn(d).properties.name, { type: 'integer' }),
      'name',
    ],
    ['a kind of answer', (d) => answerIn(d).properties.either.anyOf.pop(), 'either'],
    [
      'a field behind a reference',
      (d) => Reflect.deleteProperty(d.components.schemas.Item.properties, 'id'),
      'list/items/id',
    ],
    ['a field of a body', (d) => Reflect.deleteProperty(bodyIn(d).properties, 'mtu'), 'mtu'],
    ['that a field may be left out', (d) => bodyIn(d).required.push('mtu'), 'mtu'],
    ['a word of a body', (d) => bodyIn(d).properties.mode.enum.pop(), 'mode'],
    ['small numbers', (d) => void Object.assign(bodyIn(d).properties.mtu, { minimum: 100 }), 'mtu'],
    [
      'large numbers',
      (d) => void Object.assign(bodyIn(d).properties.mtu, { maximum: 1500 }),
      'mtu',
    ],
    ['long texts', (d) => void Object.assign(bodyIn(d).properties.path, { maxLength: 10 }), 'path'],
    [
      'texts of another pattern',
      (d) => void Object.assign(bodyIn(d).properties.path, { pattern: '^/run' }),
      'path',
    ],
    [
      'numbers of any size',
      (d) => void Object.assign(bodyIn(d).properties.mode, { maxLength: 1 }),
      'mode',
    ],
  ])('%s', (_, change, place) => {
    const now = sample();
    change(now);
    const found = removals(sample(), now);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(place);
  });

  test.each<[string, (document: Sample) => void]>([
    ['a path', (d) => void Object.assign(d.paths, { '/v1/y': {} })],
    [
      'a field of an answer',
      (d) => void Object.assign(answerIn(d).properties, { more: { type: 'string' } }),
    ],
    ['a word of an answer', (d) => void answerIn(d).properties.kind.enum.push('c')],
    ['a field that is there', (d) => void answerIn(d).required.push('kind')],
    [
      'a field of a body',
      (d) => void Object.assign(bodyIn(d).properties, { more: { type: 'string' } }),
    ],
    ['a word of a body', (d) => void bodyIn(d).properties.mode.enum.push('z')],
    ['that a field may be left out', (d) => void bodyIn(d).required.pop()],
    ['numbers', (d) => void Object.assign(bodyIn(d).properties.mtu, { maximum: 65535 })],
    [
      'a type',
      (d) => void Object.assign(bodyIn(d).properties.mtu, { type: ['integer', 'string'] }),
    ],
  ])('but not what is more: %s', (_, change) => {
    const now = sample();
    change(now);
    expect(removals(sample(), now)).toEqual([]);
  });
});
