/**
 * What one OpenAPI document allows a client and a later one does not: a path, a field, a word, a
 * value. Answers may say more and bodies may say less; neither may become otherwise.
 */

type Json = Readonly<Record<string, unknown>>;

interface Sides {
  readonly then: Json;
  readonly now: Json;
}

/** In what direction a schema describes: what comes, or what is sent. */
type Use = 'answer' | 'body';

/** One line for each; none if `now` only adds. */
export function removals(then: Json, now: Json): string[] {
  const sides = { then, now };
  const paths = keysOf(then.paths);
  return paths.flatMap((path) => {
    const [before, after] = [at(then, 'paths', path), at(now, 'paths', path)];
    if (after === undefined) return [`${path} is gone`];
    return keysOf(before).flatMap((method) => {
      const operation = at(after, method);
      if (operation === undefined) return [`${path} ${method} is gone`];
      return inOperation(sides, `${path} ${method}`, at(before, method)!, operation);
    });
  });
}

function inOperation(sides: Sides, place: string, then: Json, now: Json): string[] {
  const contents = (operation: Json, ...keys: string[]) => at(operation, ...keys, 'content');
  const body = inContent(
    sides,
    `${place} body`,
    contents(then, 'requestBody'),
    contents(now, 'requestBody'),
    'body',
  );
  const answers = keysOf(then.responses).flatMap((status) => {
    if (at(now, 'responses', status) === undefined) return [`${place} ${status} is gone`];
    const [before, after] = [then, now].map((side) => contents(side, 'responses', status));
    return inContent(sides, `${place} ${status}`, before, after, 'answer');
  });
  return [...body, ...answers];
}

function inContent(
  sides: Sides,
  place: string,
  then: Json | undefined,
  now: Json | undefined,
  use: Use,
): string[] {
  return keysOf(then).flatMap((media) => {
    if (at(now, media) === undefined) return [`${place} ${media} is gone`];
    return inSchema(sides, place, at(then, media, 'schema'), at(now, media, 'schema'), use);
  });
}

function inSchema(
  sides: Sides,
  place: string,
  given: Json | undefined,
  later: Json | undefined,
  use: Use,
): string[] {
  if (given === undefined || later === undefined) return [];
  const then = resolved(sides.then, given);
  const now = resolved(sides.now, later);
  return [
    ...inType(place, then, now, use),
    ...inWords(place, then, now),
    ...(use === 'body' ? inLimits(place, then, now) : []),
    ...inFields(sides, place, then, now, use),
    ...inSchema(sides, `${place}/items`, at(then, 'items'), at(now, 'items'), use),
    ...inShapes(sides, place, then, now, use),
  ];
}

/** An answer may have fewer types than it had, a body more. */
function inType(place: string, then: Json, now: Json, use: Use): string[] {
  const [before, after] = [then.type, now.type].map((type) =>
    type === undefined ? [] : [type].flat(),
  );
  const [few, many] = use === 'body' ? [before!, after!] : [after!, before!];
  if (before!.length === 0 || after!.length === 0) return [];
  const isWithin = few.every((type) => many.includes(type));
  return isWithin ? [] : [`${place} was ${before}, and is ${after}`];
}

/** Of answers, too: who waits for a word would wait for ever. */
function inWords(place: string, then: Json, now: Json): string[] {
  const wordsOf = (schema: Json) =>
    'const' in schema ? [schema.const] : (schema.enum as unknown[] | undefined);
  const [before, after] = [wordsOf(then), wordsOf(now)];
  if (after === undefined) return [];
  if (before === undefined) return [`${place} is now one of ${after}`];
  return before
    .filter((word) => !after.includes(word))
    .map((word) => `${place} no longer has ${word}`);
}

function inLimits(place: string, then: Json, now: Json): string[] {
  const isTighter: Readonly<Record<string, (before: number, after: number) => boolean>> = {
    minimum: (before, after) => after > before,
    minLength: (before, after) => after > before,
    minItems: (before, after) => after > before,
    maximum: (before, after) => after < before,
    maxLength: (before, after) => after < before,
    maxItems: (before, after) => after < before,
  };
  const tighter = Object.keys(isTighter).filter(
    (limit) =>
      now[limit] !== undefined &&
      (then[limit] === undefined || isTighter[limit]!(then[limit] as number, now[limit] as number)),
  );
  const other = now.pattern !== undefined && now.pattern !== then.pattern ? ['pattern'] : [];
  return [...tighter, ...other].map((limit) => `${place} has another ${limit}: ${now[limit]}`);
}

function inFields(sides: Sides, place: string, then: Json, now: Json, use: Use): string[] {
  const requiredOf = (schema: Json) => (schema.required ?? []) as readonly string[];
  const fields = keysOf(then.properties).flatMap((field) => {
    const [before, after] = [then, now].map((schema) => at(schema, 'properties', field));
    if (after === undefined) return [`${place}/${field} is gone`];
    return inSchema(sides, `${place}/${field}`, before, after, use);
  });
  const isThere = (field: string) => at(now, 'properties', field) !== undefined;
  const optional =
    use === 'body'
      ? requiredOf(now)
          .filter((field) => !requiredOf(then).includes(field))
          .map((field) => `${place}/${field} may no longer be left out`)
      : requiredOf(then)
          .filter((field) => isThere(field) && !requiredOf(now).includes(field))
          .map((field) => `${place}/${field} may now be missing`);
  return [...fields, ...optional];
}

/** Those of a union are told apart by their titles, or by what their `kind`, `state`, `type` is. */
function inShapes(sides: Sides, place: string, then: Json, now: Json, use: Use): string[] {
  const shapesOf = (document: Json, schema: Json) =>
    ((schema.anyOf ?? []) as readonly Json[]).map((shape) => resolved(document, shape));
  const later = shapesOf(sides.now, now);
  return shapesOf(sides.then, then).flatMap((shape, index) => {
    const name = shapeName(shape, index);
    const same = later.find((candidate, i) => shapeName(candidate, i) === name);
    if (same === undefined) return [`${place} is never ${name} any more`];
    return inSchema(sides, `${place}(${name})`, shape, same, use);
  });
}

function shapeName(shape: Json, index: number): string {
  const tags = ['kind', 'state', 'type'].map((tag) => at(shape, 'properties', tag)?.const);
  return String(shape.title ?? tags.find((tag) => tag !== undefined) ?? index);
}

function resolved(document: Json, schema: Json): Json {
  const reference = schema.$ref as string | undefined;
  if (reference === undefined) return schema;
  return at(document, ...reference.split('/').slice(1))!;
}

function at(value: Json | undefined, ...keys: string[]): Json | undefined {
  return keys.reduce<Json | undefined>((inner, key) => inner?.[key] as Json | undefined, value);
}

function keysOf(value: unknown): string[] {
  return Object.keys(value ?? {});
}
