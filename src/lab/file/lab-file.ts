/**
 * Reads a lab's file: YAML in, a plan out, and every complaint with file, line and column.
 *
 * The file is bounded in size and in what its aliases expand to, so that no file can take more than
 * a moment. YAML's own mistakes are told first, all of them; only what is whole YAML is looked at
 * as a lab. Merge keys (`<<: *other`) work, for what machines have in common.
 *
 * What stands below `userData` is read once more, as cloud-init would (cloud-init-yaml.ts).
 *
 * Source: YAML 1.2.2; https://yaml.org/type/merge.html.
 */

import { open, realpath } from 'node:fs/promises';
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
import { TsvswitchError } from '../../model/errors.ts';
import { type Finding, isMapping, type Path } from '../../model/findings.ts';
import { printable } from '../../model/wording.ts';
import { cloudInitReading, handedOn } from './cloud-init-yaml.ts';
import { type LabDefinition, userDataKey } from './definition.ts';
import { type LabPlan, planOf } from './plan.ts';

/**
 * YAML readers take time with the square of the keys in a mapping: of this size, a second or two.
 */
const fileBytesMax = 2 ** 16;
const aliasCountMax = 1000;
const mistakesShownMax = 20;
const smallest = '`machines: { vm1: {}, vm2: {} }` is enough';

/** `path` may be relative; complaints name the file as it is given here. */
export async function readLabFile(path: string): Promise<LabPlan> {
  const text = utf8(path, await bytesOf(path));
  // A pipe has no path of its own.
  return planOfText(text, { name: path, file: await realpath(path).catch(() => resolve(path)) });
}

/** `name` is the file as the user called it, and `file` its absolute path. Throws LAB_INVALID. */
export function planOfText(text: string, { name, file }: { name: string; file: string }): LabPlan {
  const lines = new LineCounter();
  const document = parsed(text, {}, lines);
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const at = (offset: number) => {
    const { line, column } = position(offset);
    return `${name}:${line}:${column}`;
  };
  const aliases = aliasesIn(document);
  const mistakes = [
    ...yamlMistakes(document).map((error) => `${at(error.pos[0])}: ${mistakeOf(error, text)}`),
    ...aliases.mistakes.map(({ offset, sentence }) => `${at(offset)}: ${sentence}`),
  ];
  if (mistakes.length > 0) {
    const shown = mistakes.slice(0, mistakesShownMax).map(printable);
    throw new TsvswitchError('LAB_INVALID', shown.join('\n'));
  }
  if (
    document.contents === null ||
    (isScalar(document.contents) && document.contents.value === null)
  ) {
    throw new TsvswitchError('LAB_INVALID', `${name} is empty; ${smallest}`);
  }
  const { definition, findings } = withUserData(definitionIn(document, name), () =>
    definitionIn(parsed(text, cloudInitReading), name),
  );
  return planOf(definition, {
    file,
    text: {
      name,
      findings,
      position: (steps, part) => position(offsetOf(document, aliases, steps, part)),
    },
  });
}

/**
 * The value of one key of a machine, written as in the file but for itself. Throws LAB_INVALID, or
 * what the yaml package throws if it is no YAML.
 */
export function settingOfText(key: string, text: string): unknown {
  if (key !== userDataKey) return parse(text);
  const value = parse(text, { ...readingOptions, ...cloudInitReading });
  return handedOn(value, [key], (path, sentence) => {
    throw new TsvswitchError('LAB_INVALID', `${path.join('.')}: ${sentence}`);
  });
}

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

function parsed(
  text: string,
  reading: SchemaOptions & ParseOptions,
  lineCounter = new LineCounter(),
): Document.Parsed {
  return parseDocument(text, { ...readingOptions, ...reading, lineCounter });
}

/** `definition` with every `userData` as cloud-init would read it, which `read` returns. */
function withUserData(
  definition: LabDefinition,
  read: () => LabDefinition,
): { readonly definition: LabDefinition; readonly findings: readonly Finding[] } {
  const findings: Finding[] = [];
  const hasAny = Object.values(machinesIn(definition)).some((machine) =>
    isMapping(isMapping(machine) ? machine[userDataKey] : undefined),
  );
  if (!hasAny) return { definition, findings };
  const asRead = machinesIn(read());
  const machines = Object.entries(machinesIn(definition)).map(([name, machine]) => {
    const other = asRead[name];
    if (!isMapping(machine) || !isMapping(other) || !isMapping(machine[userDataKey])) {
      return [name, machine];
    }
    const path = ['machines', name, userDataKey];
    const userData = handedOn(other[userDataKey], path, (path, sentence) =>
      findings.push({ path, part: 'value', sentence }),
    );
    return [name, { ...machine, [userDataKey]: userData }];
  });
  return { definition: { ...definition, machines: Object.fromEntries(machines) }, findings };
}

function machinesIn(definition: unknown): Record<string, unknown> {
  const machines = isMapping(definition) ? definition.machines : undefined;
  return isMapping(machines) ? machines : {};
}

async function bytesOf(path: string): Promise<Buffer> {
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
    throw new TsvswitchError('LAB_FILE_UNREADABLE', whyUnreadable(path, cause), { cause });
  }
  throw new TsvswitchError(
    'LAB_FILE_UNREADABLE',
    `${path} has more than ${fileBytesMax} bytes, too many for the file of a lab`,
  );
}

function whyUnreadable(path: string, cause: unknown): string {
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return (
        `there is no ${basename(path)} in ${resolve(dirname(path))}; write one (${smallest}) or ` +
        'name another with -f'
      );
    case 'EISDIR':
      return `${path} is a folder; name the file in it`;
    case 'EACCES':
      return `${path} may not be read by this user`;
    default:
      return `${path} cannot be read: ${(cause as Error).message}`;
  }
}

function utf8(path: string, bytes: Buffer): string {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new TsvswitchError('LAB_FILE_UNREADABLE', `${path} is not UTF-8 text; save it as UTF-8`, {
      cause,
    });
  }
}

function yamlMistakes({ errors, warnings }: Document.Parsed): readonly YAMLError[] {
  const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  // Every level that could not be read is an error of its own.
  return tooDeep === undefined ? [...errors, ...warnings] : [tooDeep];
}

function mistakeOf({ code, pos, message }: YAMLError, text: string): string {
  switch (code) {
    case 'DUPLICATE_KEY':
      return (
        `the key ${/^[^\s:]+/.exec(text.slice(pos[0], pos[0] + 80))?.[0]} is there already; ` +
        'remove one of the two'
      );
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; a file declares one lab';
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

function definitionIn(document: Document.Parsed, path: string): LabDefinition {
  try {
    return document.toJS({ maxAliasCount: aliasCountMax });
  } catch (cause) {
    throw new TsvswitchError(
      'LAB_INVALID',
      `${path}: its aliases repeat more than ${aliasCountMax} values`,
      { cause },
    );
  }
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
