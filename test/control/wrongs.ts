/**
 * What can be wrong with a document that is right: for each of its fields every value that the
 * field's schema does not allow, one at a time.
 */

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Schema {
  readonly [keyword: string]: unknown;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: boolean | Schema;
  readonly anyOf?: readonly Schema[];
}

/** One thing that is wrong. */
export interface Wrong {
  /** Where, as a JSON pointer. */
  readonly path: string;
  readonly document: unknown;
}

/** Keys and indexes as a JSON pointer (RFC 6901). */
export function pointer(path: readonly string[]): string {
  return path.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

const ofEachType: Readonly<Record<string, Json>> = {
  null: null,
  boolean: true,
  number: 1.5,
  integer: 7,
  string: 'text',
  array: [],
  object: {},
};

/** Of a document that has every field its schema knows. */
export function wrongsIn(oneOrMore: Schema, right: unknown, path = ''): Wrong[] {
  const schema = oneOrMore.anyOf === undefined ? oneOrMore : kindOf(oneOrMore.anyOf, right);
  const here = wrongValues(schema).map((document) => ({ path, document }));
  if (Array.isArray(right)) {
    const [first, ...rest] = right;
    if (first === undefined) return here;
    const inner = wrongsIn(schema.items!, first, `${path}/0`);
    return [...here, ...inner.map((wrong) => ({ ...wrong, document: [wrong.document, ...rest] }))];
  }
  if (typeof right !== 'object' || right === null) return here;
  return [...here, ...wrongFields(schema, right as Record<string, unknown>, path)];
}

function wrongFields(schema: Schema, right: Record<string, unknown>, path: string): Wrong[] {
  const { additionalProperties: other } = schema;
  // A mapping by names has a schema for all of them.
  const isClosed = typeof other !== 'object';
  const keys = Object.keys(isClosed ? (schema.properties ?? {}) : right);
  const schemaOf = (key: string) => (isClosed ? schema.properties![key]! : (other as Schema));
  const inner = keys.flatMap((key) =>
    wrongsIn(schemaOf(key), right[key], `${path}/${key}`).map((wrong) => ({
      ...wrong,
      document: { ...right, [key]: wrong.document },
    })),
  );
  const missing = (schema.required ?? []).map((key) => {
    const { [key]: _, ...document } = right;
    return { path, document };
  });
  // Slips of what is there, and what every object of JavaScript has.
  const slips = [...keys.map((key) => `${key}x`), 'constructor', 'a/b~c', ''];
  const names = ['', ' a', 'a\n', 'a: b', 'x'.repeat(129)];
  const strange = (isClosed ? slips : names).map((key) => ({
    path: `${path}${pointer([key])}`,
    document: { ...right, [key]: isClosed ? 1 : right[keys[0]!] },
  }));
  return [...inner, ...missing, ...strange];
}

/** The shape that has the `kind` of `right`. */
function kindOf(shapes: readonly Schema[], right: unknown): Schema {
  const { kind } = right as { kind: string };
  return shapes.find(({ properties }) => properties?.kind?.const === kind)!;
}

function wrongValues(schema: Schema): Json[] {
  const types = [schema.type ?? []].flat();
  // A whole number is a number, too.
  const allowed = types.includes('number') ? [...types, 'integer'] : types;
  const values = Object.entries(ofEachType).flatMap(([type, value]) =>
    allowed.includes(type) ? [] : [value],
  );
  const limit = (keyword: string, wrong: (bound: number) => Json) => {
    if (schema[keyword] !== undefined) values.push(wrong(schema[keyword] as number));
  };
  limit('minimum', (least) => least - 1);
  limit('minimum', () => -1e300);
  limit('maximum', (most) => most + 1);
  limit('maximum', () => 1e300);
  limit('minLength', () => '');
  limit('maxLength', (most) => `/${'x'.repeat(most)}`);
  limit('minItems', (least) => Array<Json>(least - 1).fill('x'));
  limit('maxItems', (most) => Array<Json>(most + 1).fill('x'));
  if (schema.pattern !== undefined) values.push('', '\n', 'a\u0000', '\u2028', '\u202ex');
  if (schema.enum !== undefined) values.push('other', '');
  if (schema.const !== undefined) values.push(!schema.const);
  return values;
}
