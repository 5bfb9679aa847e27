/**
 * Sentences as data: a template with the names of its parameters in braces, such as `size {size} is
 * not a power of two`, and what fills it. Pure.
 */

/** A long template is written as its pieces, since a sum of texts has no type of its own. */
export type Template = string | readonly string[];

/** Something a sentence tells: text, a number, or a list that reads `a, b, c`. */
export type Parameter = string | number | bigint | readonly string[];

/** The names in braces; what is in braces and has a space in it is part of the sentence. */
export type ParameterNames<Text extends string> =
  Text extends `${string}{${infer Inside}}${infer Rest}`
    ? (Inside extends `${string}${' ' | '"'}${string}` ? never : Inside) | ParameterNames<Rest>
    : never;

export type ParametersOf<T extends Template> = {
  readonly [Name in ParameterNames<
    T extends readonly string[] ? T[number] : T & string
  >]: Parameter;
};

/** As addresses, flags and sizes of regions are written. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

const placeholder = /\{([A-Za-z]+)\}/g;

/** The sentence; a parameter that is not there stays in braces. */
export function filled(template: Template, parameters: Readonly<Record<string, unknown>>): string {
  return textOf(template).replaceAll(placeholder, (braces, name: string) => {
    const value = parameters[name];
    if (value === undefined) return braces;
    return Array.isArray(value) ? value.join(', ') : String(value);
  });
}

/** The names in braces, as the type ParameterNames has them. */
export function parameterNames(template: Template): string[] {
  return Array.from(textOf(template).matchAll(placeholder), ([, name]) => name!);
}

export function textOf(template: Template): string {
  return typeof template === 'string' ? template : template.join('');
}
