/**
 * A YAML file of the operator's: read within bounds, every complaint with file, line and column.
 *
 *     bytes ──► UTF-8 text ──► YAML, its own mistakes first ──► plain values, and where each is
 *
 * The file is bounded in size and in what its aliases expand to, so that no file can take more than
 * a moment. Merge keys (`<<: *other`) work. What the values mean is the caller's.
 *
 * Source: YAML 1.2.2; https://yaml.org/type/merge.html.
 */

import { open } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParseOptions,
  parse,
  parseDocument,
  type SchemaOptions,
  visit,
  type YAMLError,
} from 'yaml';
import { failure } from '../model/errors.ts';

import type { Finding, FoundIn, Path } from '../model/findings.ts';
import { printable } from '../model/wording.ts';

/** What a file of this kind is called in sentences, and the faults of its errors. */
export interface FileKind {
  /** Follows "too many for the file of" and "a file declares one". */
  readonly noun: string;
  /** A file that is enough, such as "`machines: { vm1: {} }` is enough". */
  readonly smallest: string;
  /** How another file is named, such as "-f". */
  readonly option: string;
  readonly faults: FileFaults;
}

/** What its errors are called. */
export interface FileFaults {
  readonly unreadable: 'lab-unreadable' | 'config-unreadable';
  readonly tooLong: 'lab-too-long' | 'config-too-long';
  readonly noText: 'lab-no-text' | 'config-no-text';
  readonly invalid: 'lab-no-yaml' | 'config-no-yaml';
  readonly empty: 'lab-empty' | 'config-empty';
  readonly aliases: 'lab-aliases' | 'config-aliases';
}

/** Another reading of plain words than that of YAML 1.2. */
export type Reading = SchemaOptions & ParseOptions;

/**
 * YAML readers take time with the square of the keys in a mapping: of this size, a second or two.
 */
const fileBytesMax = 2 ** 16;
const aliasCountMax = 1000;
const mistakesShownMax = 20;

const readingOptions = {
  // A key is what is written, were it `on` or 0644.
  stringKeys: true,
  // Several mappings may be merged in, one by one.
  uniqueKeys: (a: unknown, b: unknown) =>
    isScalar(a) && isScalar(b) && a.value === b.value && a.value !== '<<',
  merge: true,
  prettyErrors: false,
  logLevel: 'error',
  resolveKnownTags: false,
} as const;

/** The text of the file at `path`, which may be a pipe. Throws what `kind.faults` calls so. */
export async function readText(path: string, kind: FileKind): Promise<string> {
  return utf8(path, await bytesOf(path, kind), kind);
}

/** One value, written as in a file but for itself. Throws what the yaml package throws. */
export function yamlValue(text: string, reading?: Reading): unknown {
  return reading === undefined ? parse(text) : parse(text, { ...readingOptions, ...reading });
}

/** The YAML of a text, without a mistake of its own. */
export class YamlText implements FoundIn {
  readonly name: string;
  readonly document: Document.Parsed;
  readonly #text: string;
  readonly #kind: FileKind;
  readonly #lines = new LineCounter();
  readonly #aliases: Aliases;

  /** `name` is the file as the user called it. Throws the code of `kind.faults.invalid`. */
  constructor(text: string, name: string, kind: FileKind) {
    this.name = name;
    this.#text = text;
    this.#kind = kind;
    this.document = parsed(text, {}, this.#lines);
    this.#aliases = aliasesIn(this.document);
    const mistakes = [
      ...yamlMistakes(this.document).map((error) => ({
        offset: error.pos[0],
        sentence: mistakeOf(error, text, kind),
      })),
      ...this.#aliases.mistakes,
    ];
    if (mistakes.length > 0) {
      const shown = mistakes.slice(0, mistakesShownMax);
      const lines = shown.map(({ offset, sentence }) => `${this.#at(offset)}: ${sentence}`);
      throw failure(kind.faults.invalid, { mistakes: lines.map(printable).join('\n') });
    }
    const { contents } = this.document;
    if (contents === null || (isScalar(contents) && contents.value === null)) {
      throw failure(kind.faults.empty, { file: name, smallest: kind.smallest });
    }
  }

  /** What is written, as plain values; with `reading`, as that reads it. Throws as the file. */
  value(reading?: Reading): unknown {
    const document = reading === undefined ? this.document : parsed(this.#text, reading);
    try {
      return document.toJS({ maxAliasCount: aliasCountMax });
    } catch (cause) {
      const parameters = { file: this.name, max: aliasCountMax };
      throw failure(this.#kind.faults.aliases, parameters, { cause });
    }
  }

  /** Where a value or its key is; line and column count from 1. */
  position(path: Path, part: Finding['part']): { line: number; column: number } {
    return this.#position(offsetOf(this.document, this.#aliases, path, part));
  }

  #at(offset: number): string {
    const { line, column } = this.#position(offset);
    return `${this.name}:${line}:${column}`;
  }

  #position(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }
}

function parsed(text: string, reading: Reading, lineCounter = new LineCounter()): Document.Parsed {
  return parseDocument(text, { ...readingOptions, ...reading, lineCounter });
}

async function bytesOf(path: string, kind: FileKind): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      // Pipes and devices have no size to ask for: read until there is one byte too many.
      const buffer = Buffer.alloc(fileBytesMax + 1);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        length += bytesRead;
        if (bytesRead === 0 || length === buffer.length) break;
      }
      if (length <= fileBytesMax) return buffer.subarray(0, length);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const why = whyUnreadable(path, cause, kind);
    throw failure(kind.faults.unreadable, { why }, { cause });
  }
  throw failure(kind.faults.tooLong, { file: path, max: fileBytesMax });
}

function whyUnreadable(path: string, cause: unknown, kind: FileKind): string {
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return (
        `there is no ${basename(path)} in ${resolve(dirname(path))}; write one ` +
        `(${kind.smallest}) or name another with ${kind.option}`
      );
    case 'EISDIR':
      return `${path} is a folder; name the file in it`;
    case 'EACCES':
      return `${path} may not be read by this user`;
    default:
      return `${path} cannot be read: ${(cause as Error).message}`;
  }
}

function utf8(path: string, bytes: Buffer, kind: FileKind): string {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw failure(kind.faults.noText, { file: path }, { cause });
  }
}

function yamlMistakes({ errors, warnings }: Document.Parsed): readonly YAMLError[] {
  const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  // Every level that could not be read is an error of its own.
  return tooDeep === undefined ? [...errors, ...warnings] : [tooDeep];
}

function mistakeOf({ code, pos, message }: YAMLError, text: string, kind: FileKind): string {
  switch (code) {
    case 'DUPLICATE_KEY':
      return (
        `the key ${/^[^\s:]+/.exec(text.slice(pos[0], pos[0] + 80))?.[0]} is there already; ` +
        'remove one of the two'
      );
    case 'MULTIPLE_DOCS':
      return `a second document begins here; a file declares one ${kind.noun}`;
    case 'RESOURCE_EXHAUSTION':
      return 'this is nested too deeply';
    case 'NON_STRING_KEY':
      return 'a key is a single word or text, written out';
    case 'TAG_RESOLVE_FAILED': {
      const tag = /^Unresolved tag: tag:yaml\.org,2002:(\w+)$/.exec(message)?.[1];
      if (tag === undefined) return `this is not YAML: ${message}`;
      const bytes = tag === 'binary' ? '; for bytes in write_files give `encoding: b64`' : '';
      return `the tag !!${tag} means nothing here; remove it${bytes}`;
    }
    default:
      return `this is not YAML: ${message}`;
  }
}

/** Aliases, each with the node it repeats, and the offsets of those that cannot be followed. */
interface Aliases {
  readonly targets: ReadonlyMap<unknown, Node>;
  readonly mistakes: readonly { readonly offset: number; readonly sentence: string }[];
}

/** In one walk; the library's own `resolve` walks for every alias. */
function aliasesIn(document: Document.Parsed): Aliases {
  const anchors = new Map<string, Node>();
  const targets = new Map<unknown, Node>();
  const mistakes: Aliases['mistakes'][number][] = [];
  visit(document, {
    Node(_key, node, ancestors) {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.set(node.anchor, node);
        return;
      }
      const target = anchors.get(node.source);
      const offset = startOf(node) ?? 0;
      if (target === undefined) {
        mistakes.push({ offset, sentence: `nothing before this is marked &${node.source}` });
      } else if (ancestors.includes(target)) {
        mistakes.push({ offset, sentence: `*${node.source} stands inside of what it repeats` });
      } else {
        targets.set(node, target);
      }
    },
  });
  return { targets, mistakes };
}

/** Where the value at `path` begins, or its key; if it comes from an alias, where that leads. */
function offsetOf(
  document: Document.Parsed,
  { targets }: Aliases,
  path: Path,
  part: Finding['part'],
): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, step] of path.entries()) {
    node = targets.get(node) ?? node;
    if (isSeq(node)) {
      node = node.items[Number(step)];
    } else if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
      // A key that came with a merge is not here; its mapping is the nearest place there is.
      if (pair === undefined) break;
      const isLast = depth === path.length - 1;
      node = isLast && part === 'key' ? pair.key : pair.value;
    }
    offset = startOf(node) ?? offset;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
