/**
 * The addon as TypeScript declares it (src/native/) and as it is: what each interface lists is what
 * the exports and the prototypes of handles have, no more and no less, and takes as many arguments.
 * The words of each policy are what its table of fields knows.
 */

import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { afterAll, describe, expect, test } from 'vitest';
import { type LinkSettings, native, type PolicyWords } from '../../src/native/addon.ts';
import { openManualDataplane } from '../support/manual-dataplane.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

/** What an interface declares: of a method how many arguments it needs and takes. */
type Member = { readonly min: number; readonly max: number } | 'value';

const files = ['src/native/addon.ts', 'src/native/handles.ts'];
const interfaces = new Map(
  files
    .map((file) => ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest))
    .flatMap((file) => file.statements.filter(ts.isInterfaceDeclaration))
    .map((declared) => [declared.name.text, declared]),
);

/** With those of the interfaces that it extends. */
function membersOf(name: string): Map<string, Member> {
  const declared = interfaces.get(name)!;
  const inherited = (declared.heritageClauses ?? []).flatMap(({ types }) =>
    types.flatMap(({ expression }) => [...membersOf((expression as ts.Identifier).text)]),
  );
  return new Map([
    ...inherited,
    ...declared.members.map((member): [string, Member] => {
      const key = (member.name as ts.Identifier).text;
      if (!ts.isMethodSignature(member)) return [key, 'value'];
      const { parameters } = member;
      const needed = parameters.filter(({ questionToken }) => questionToken === undefined);
      return [key, { min: needed.length, max: parameters.length }];
    }),
  ]);
}

const addon = native();
const dataplane = openManualDataplane();
const bridge = dataplane.addBridge('blue', 0);
const ringPort = bridge.addRingPort('ring', 2, () => {});
const processPort = bridge.addProcessPort('process', () => {});
const callFd = addon.eventfdCreate();
const capture = bridge.capture(64, callFd);
afterAll(() => {
  dataplane.close();
  addon.closeFd(callFd);
});

/** One handle of each class, by the interface that declares it. */
const handles: Record<string, object> = {
  Dataplane: dataplane,
  NativeBridge: bridge,
  NativeRingPort: ringPort,
  NativeProcessPort: processPort,
  NativeRingQueue: ringPort.queue(0),
  NativeProcessQueue: processPort.queue(0),
  NativeCapture: capture,
};
/** What several of them share. */
const shared = ['NativePort', 'NativeQueue'];

function sorted(names: Iterable<string>): string[] {
  return [...names].sort();
}

/** What a call says of how many arguments it takes, when it is given too many. */
function takes(target: object, name: string, tooMany: number): { min: number; max: number } {
  const call = (target as Record<string, (...args: unknown[]) => unknown>)[name]!;
  try {
    call.apply(target, new Array(tooMany).fill(undefined));
  } catch (error) {
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    const [, min, max] = /takes (\d+)(?: to (\d+))? arguments?/.exec((error as Error).message)!;
    return { min: Number(min), max: Number(max ?? min) };
  }
  throw new Error(`${name} takes ${tooMany} arguments`);
}

describe('every call that is declared is there, and takes as many arguments', () => {
  test.each(Object.entries(handles))('%s', (name, handle) => {
    const members = membersOf(name);
    const prototype = Object.getPrototypeOf(handle);
    const methods = Object.getOwnPropertyNames(prototype).filter((key) => key !== 'constructor');
    const values = Object.getOwnPropertyNames(handle);
    expect(sorted([...methods, ...values])).toEqual(sorted(members.keys()));
    for (const [key, member] of members) {
      expect(values.includes(key), key).toBe(member === 'value');
      if (member === 'value') continue;
      expect(prototype[key], key).toHaveLength(member.min);
      expect(takes(handle, key, member.max + 1), key).toEqual(member);
    }
  });

  test('the functions beside them', () => {
    const members = membersOf('Native');
    expect(sorted(Object.getOwnPropertyNames(addon))).toEqual(sorted(members.keys()));
    for (const [key, member] of members) {
      const value = addon[key as keyof typeof addon];
      expect(typeof value === 'function', key).toBe(member !== 'value');
      if (member === 'value') continue;
      expect(value, key).toHaveLength(member.min);
      expect(takes(addon, key, member.max + 1), key).toEqual(member);
    }
  });

  test('no interface with methods is left out', () => {
    const withMethods = [...interfaces.keys()].filter((name) =>
      [...membersOf(name).values()].some((member) => member !== 'value'),
    );
    expect(sorted(withMethods)).toEqual(sorted([...Object.keys(handles), ...shared, 'Native']));
  });

  test('no class of handles has more than fifteen methods', () => {
    for (const name of Object.keys(handles)) {
      const methods = [...membersOf(name).values()].filter((member) => member !== 'value');
      expect(methods.length, name).toBeLessThanOrEqual(15);
    }
  });
});

describe('the words of every policy', () => {
  const link: LinkSettings = {
    seed: 2n ** 64n - 1n,
    blackhole: true,
    frameBytesMax: 2 ** 32 - 1,
    bitsPerSecond: 2 ** 53,
    queueBytes: 2 ** 32 - 1,
    turnsBad: 1,
    turnsGood: 1,
    lossGood: 1,
    lossBad: 1,
    delayNs: 2 ** 53,
    jitterNs: 2 ** 53,
    duplicate: 1,
    corrupt: 1,
    reorder: 1,
    reorderNs: 2 ** 53,
  };
  /** With the most that each word may be; the compiler sees to it that none is missing. */
  const most: PolicyWords = {
    linkFromGuest: link,
    linkToGuest: link,
    linkFromPort: link,
    mtu: { mtuBytes: 65_550 },
    admin: { down: true },
    sources: {
      macs: [2 ** 48 - 1],
      networks: [
        { address: new Uint8Array(4), prefixLength: 32 },
        { address: new Uint8Array(16), prefixLength: 128 },
      ],
    },
  };
  const policies = Object.keys(most) as (keyof PolicyWords)[];
  const set = (policy: keyof PolicyWords, words: unknown) =>
    ringPort.set(
      policy,
      words as never,
      ...(policy === 'linkFromPort' ? ([processPort] as const) : []),
    );

  test('are those of the interface', () => {
    expect(sorted(addon.policyNames)).toEqual(sorted(policies));
    expect(sorted(membersOf('PolicyWords').keys())).toEqual(sorted(policies));
  });

  test.each(policies)(
    '%s: all are taken, and none is more, fewer or beyond its range',
    (policy) => {
      const words = most[policy] as unknown as Record<string, unknown>;
      set(policy, words);
      expect(() => set(policy, { ...words, surplus: 0 })).toThrow(codeOf('BAD_OPTION'));
      for (const [word, value] of Object.entries(words)) {
        const { [word]: _, ...others } = words;
        const refused = (other: unknown, why: string) =>
          expect(() => set(policy, { ...words, [word]: other }), `${word}: ${why}`).toThrow(
            codeOf('BAD_OPTION'),
          );
        expect(() => set(policy, others), word).toThrow(codeOf('BAD_OPTION'));
        expect(() => set(policy, { ...others, surplus: 0 }), word).toThrow(codeOf('BAD_OPTION'));
        refused(undefined, 'nothing');
        refused('1', 'text');
        if (typeof value === 'bigint') {
          refused(value + 1n, 'more');
          refused(-1n, 'negative');
          refused(1, 'no bigint');
        } else if (typeof value === 'number') {
          refused(value === 2 ** 53 ? 2 ** 54 : value + 1, 'more');
          refused(-1, 'negative');
          refused(Number.NaN, 'no number');
          if (value > 1) refused(0.5, 'no integer');
        }
      }
      // None of these has changed anything, and what is in force goes.
      set(policy, undefined);
      for (const nothing of [null, 7, 'all', [], {}]) {
        expect(() => set(policy, nothing), String(nothing)).toThrow(codeOf('BAD_OPTION'));
      }
    },
  );

  test('sources: lists of at most 64, of addresses that are some', () => {
    const sources = (macs: unknown, networks: unknown) => () => set('sources', { macs, networks });
    sources(new Array(64).fill(1), [])();
    expect(sources(new Array(65).fill(1), [])).toThrow(codeOf('BAD_OPTION'));
    expect(sources([2 ** 48], [])).toThrow(codeOf('BAD_OPTION'));
    expect(sources(['1'], [])).toThrow(codeOf('BAD_OPTION'));
    for (const network of [
      undefined,
      {},
      { address: new Uint8Array(5), prefixLength: 0 },
      { address: new Uint8Array(4), prefixLength: 33 },
      { address: new Uint8Array(16), prefixLength: 129 },
      { address: [1, 2, 3, 4], prefixLength: 8 },
    ]) {
      expect(sources([], [network])).toThrow(codeOf('BAD_OPTION'));
    }
    set('sources', undefined);
  });

  test('jitter is at most the delay it is of', () => {
    const late = { ...link, delayNs: 10 };
    set('linkToGuest', { ...late, jitterNs: 10 });
    expect(() => set('linkToGuest', { ...late, jitterNs: 11 })).toThrow(codeOf('BAD_OPTION'));
    set('linkToGuest', undefined);
  });

  test('a policy that is not there is refused, and so is a peer where it has none', () => {
    expect(() => set('mtus' as 'mtu', most.mtu)).toThrow(codeOf('BAD_OPTION'));
    expect(() => ringPort.set('mtu', most.mtu, processPort)).toThrow(codeOf('BAD_OPTION'));
    for (const peer of [undefined, ringPort, bridge, {}, 3]) {
      expect(() => ringPort.set('linkFromPort', link, peer as never)).toThrow(codeOf('BAD_OPTION'));
    }
  });
});
