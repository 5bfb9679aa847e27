/**
 * Writes what was changed at run time into the file of a switch: only what differs, so that
 * comments, order and everything else that people have written stays.
 *
 * A port whose keys come from an alias or a merge key is written out where these are in the way.
 * The text is read again before it takes the place of the old one, and says what is in force or is
 * not written at all. The file is written beside the old one, forced to the disk and renamed over
 * it.
 */

import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { settingsOf } from '../model/check.ts';
import { failure } from '../model/errors.ts';
import { placeKey } from '../model/place.ts';
import type { LinkSettings, PortSettings, SwitchSettings } from '../model/settings.ts';
import { configOfText } from './config-file.ts';
import { changesBetween, isUnchanged, type RuntimeChanges } from './runtime-changes.ts';

/**
 * The text with `wanted` in place of what it says of the switch; `name` is the file as the user
 * called it. Throws CONFIG_INVALID if the text itself is wrong.
 */
export function savedText(text: string, name: string, wanted: SwitchSettings): string {
  const { settings } = configOfText(text, name);
  const changes = changesBetween(settings, wanted);
  if (isUnchanged(changes)) return text;
  const document = parseDocument(text, { merge: true, stringKeys: true });
  new Edit(document, settings, wanted).make(changes);
  const saved = written(document);
  const missed = changesBetween(configOfText(saved, name).settings, wanted);
  if (isUnchanged(missed)) return saved;
  // What is left comes from elsewhere in the text, and is written out.
  new Edit(document, settings, wanted).writeOut(missed);
  const spelledOut = written(document);
  if (isUnchanged(changesBetween(configOfText(spelledOut, name).settings, wanted))) {
    return spelledOut;
  }
  throw failure('config-aliased', { path: name });
}

/** In place of what there is, with its owner and permissions. Throws CONFIG_UNWRITABLE. */
export function writeConfig(path: string, text: string): void {
  let next: string | undefined;
  try {
    const file = realpathSync(path);
    const { mode, uid, gid } = statSync(file);
    next = `${file}.new`;
    const fd = openSync(next, 'wx', 0o600);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (uid !== process.geteuid!() || gid !== process.getegid!()) chownSync(next, uid, gid);
    chmodSync(next, mode & 0o7777);
    renameSync(next, file);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // That of another process, which is about to write.
    if (next !== undefined && code !== 'EEXIST') rmSync(next, { force: true });
    throw failure('config-unwritable', { path, cause: message }, { cause });
  }
}

function written(document: Document): string {
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}

type NamedKey = 'ports' | 'bridges';

class Edit {
  readonly #document: Document;
  readonly #present: SwitchSettings;
  readonly #wanted: SwitchSettings;

  constructor(document: Document, present: SwitchSettings, wanted: SwitchSettings) {
    this.#document = document;
    this.#present = present;
    this.#wanted = wanted;
  }

  make({ values, ports, bridges, fdb, links }: RuntimeChanges): void {
    for (const [key, value] of Object.entries(values)) this.#document.set(key, value);
    for (const [key, named] of [
      ['ports', ports],
      ['bridges', bridges],
    ] as const) {
      for (const [name, change] of Object.entries(named)) {
        if (change.is === 'removed') this.#remove(key, name);
        else if (change.is === 'added') this.#write(key, name);
        else this.#change(key, name, change.keys);
      }
    }
    if (Object.keys(fdb).length > 0) this.#writeList('fdb', fdb, this.#addressList());
    if (Object.keys(links).length > 0) this.#writeList('links', links, this.#linkList());
  }

  /** Each thing that differs, whole. */
  writeOut({ values, ports, bridges, fdb, links }: RuntimeChanges): void {
    for (const [key, value] of Object.entries(values)) this.#document.set(key, value);
    for (const name of Object.keys(ports)) this.#write('ports', name);
    for (const name of Object.keys(bridges)) this.#write('bridges', name);
    if (Object.keys(fdb).length > 0) this.#document.set('fdb', this.#wanted.fdb);
    if (Object.keys(links).length > 0) {
      this.#document.set('links', this.#wanted.links.map(writtenLink));
    }
  }

  #remove(key: NamedKey, name: string): void {
    const named = this.#document.get(key);
    if (isMap(named)) named.delete(name);
  }

  #write(key: NamedKey, name: string): void {
    if (!Object.hasOwn(this.#wanted[key], name)) {
      this.#remove(key, name);
      return;
    }
    if (key === 'ports') {
      this.#setNamed(key, name, writtenPort(name, this.#wanted.ports[name]!));
      return;
    }
    const { ageingSeconds } = this.#wanted.bridges[name]!;
    if (ageingSeconds !== this.#wanted.ageingSeconds || !this.#isNamedByPort(name)) {
      this.#setNamed(key, name, ageingSeconds === undefined ? {} : { ageingSeconds });
    }
  }

  #setNamed(key: NamedKey, name: string, value: object): void {
    if (!isMap(this.#document.get(key))) this.#document.set(key, this.#document.createNode({}));
    this.#document.setIn([key, name], this.#document.createNode(value));
  }

  #isNamedByPort(bridge: string): boolean {
    return Object.values(this.#wanted.ports).some((port) => port.bridge === bridge);
  }

  #change(key: NamedKey, name: string, keys: Readonly<Record<string, unknown>>): void {
    const present = this.#document.getIn([key, name]);
    if (!isMap(present)) {
      this.#write(key, name);
      return;
    }
    for (const [field, value] of Object.entries(keys)) {
      if (value === null) present.delete(field);
      // A plain value takes the place of one, and leaves the comment behind it.
      else present.set(field, isPlain(value) ? value : this.#document.createNode(value));
    }
  }

  /** Each thing of a list that differs, in its place. */
  #writeList(key: 'fdb' | 'links', changes: RuntimeChanges['links'], entries: Entries): void {
    if (!isSeq(this.#document.get(key))) {
      this.#document.set(key, this.#document.createNode([]));
    }
    const list = this.#document.get(key) as YAMLSeq;
    // As the file has them: what follows may put others of the same name beside them.
    const present = new Map(
      list.items.flatMap((item) => (isMap(item) ? [[entries.nameOf(item), item]] : [])),
    );
    for (const [name, change] of Object.entries(changes)) {
      const at = list.items.indexOf(present.get(name));
      if (at >= 0) list.delete(at);
      if (change.is === 'removed') continue;
      const node = this.#document.createNode(entries.wanted(name));
      list.items.splice(at >= 0 ? at : list.items.length, 0, node);
    }
  }

  #linkList(): Entries {
    const nameOf = (from: unknown, to: unknown) => JSON.stringify([from ?? null, to ?? null]);
    return {
      nameOf: (item) => nameOf(item.get('from'), item.get('to')),
      wanted: (name) =>
        writtenLink(this.#wanted.links.find(({ from, to }) => nameOf(from, to) === name)!),
    };
  }

  #addressList(): Entries {
    const { fdb, ports } = this.#wanted;
    return {
      nameOf: (item) => placeKey(item.toJSON(), this.#present.ports),
      wanted: (name) => fdb.find((address) => placeKey(address, ports) === name)!,
    };
  }
}

/** Of a list: what runtime-changes.ts calls its things, and what is to be there. */
interface Entries {
  readonly nameOf: (item: YAMLMap) => string;
  readonly wanted: (name: string) => object;
}

function isPlain(value: unknown): boolean {
  return typeof value !== 'object';
}

/** Without what has its default. */
function writtenPort(name: string, port: PortSettings): object {
  const own = ['path', 'connect', 'peer'] as const;
  const fields = port as unknown as Readonly<Record<string, unknown>>;
  const least = {
    kind: port.kind,
    ...Object.fromEntries(own.filter((key) => key in port).map((key) => [key, fields[key]])),
  };
  const defaults = settingsOf({ ports: { [name]: least } }).ports[name] as
    | typeof fields
    | undefined;
  return Object.fromEntries(
    Object.entries(fields).filter(([key, value]) => {
      if (key === 'kind') return value !== 'vhost-user';
      return (own as readonly string[]).includes(key) || !isDeepStrictEqual(value, defaults?.[key]);
    }),
  );
}

function writtenLink({ impairment, ...ends }: LinkSettings): object {
  const { blackhole, ...rest } = impairment;
  return { ...ends, impairment: { ...(blackhole ? { blackhole } : {}), ...rest } };
}
