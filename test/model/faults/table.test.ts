/** The table of all that can go wrong: complete, used, and in step with the addon. */

import { readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { failure, TsvswitchError } from '../../../src/model/errors.ts';
import { ringCodes } from '../../../src/model/faults/rings.ts';
import {
  codes,
  type Fault,
  type FaultArguments,
  isFault,
  told,
} from '../../../src/model/faults/table.ts';
import { parameterNames, type Template, textOf } from '../../../src/model/sentence.ts';
import { native } from '../../../src/native/addon.ts';
import { sources } from '../../support/tree.js';

const sentences: [Fault, string][] = Object.values(codes).flatMap(
  ({ sentences }) => Object.entries(sentences) as [Fault, string][],
);

test('a fault belongs to one code', () => {
  const faults = sentences.map(([fault]) => fault);
  expect(faults).toEqual([...new Set(faults)]);
});

test('faults of broken rings are those that the data plane breaks rings for', () => {
  const [none, ...breaks] = native().breakCodes;
  expect(none).toBe('none');
  expect(Object.keys(ringCodes.RING_BROKEN.sentences).sort()).toEqual(breaks.sort());
});

test('every fault is raised somewhere, and nothing raises what the table has not', () => {
  const files = sources
    .filter((file) => /^(src|native.(addon|core)).*\.(ts|cc|h)$/.test(file))
    .filter((file) => !file.startsWith(['src', 'model', 'faults'].join(sep)));
  const text = files.map((file) => readFileSync(file, 'utf8')).join('\n');
  const unused = sentences
    .map(([fault]) => fault)
    .filter((fault) => !text.includes(`'${fault}'`) && !text.includes(`"${fault}"`));
  expect(unused).toEqual([]);
  const raised = Array.from(
    text.matchAll(/FaultError\([^"{;]*, "([a-z0-9-]+)"/g),
    ([, fault]) => fault,
  );
  expect(raised).not.toHaveLength(0);
  expect(raised.filter((fault) => !isFault(fault))).toEqual([]);
});

describe.each(sentences)('%s', (fault, template) => {
  test('has a sentence that names its parameters, and nothing else', () => {
    const parameters = Object.fromEntries(
      parameterNames(template).map((name) => [name, `<${name}>`]),
    );
    const { sentence } = told(fault, ...([parameters] as unknown as FaultArguments<Fault>));
    for (const name of Object.keys(parameters)) expect(sentence).toContain(`<${name}>`);
    expect(sentence).not.toMatch(/\{[A-Za-z]+\}|undefined/);
  });
});

test('docs/errors.md has every code with what to do, and every sentence', () => {
  const page = readFileSync('docs/errors.md', 'utf8');
  const sections = new Map(
    page
      .split('\n## ')
      .map((section) => [section.split('\n')[0]!, section.replaceAll(/\n */g, ' ')]),
  );
  for (const [code, { means, remedy, sentences }] of Object.entries(codes)) {
    const section = sections.get(code);
    expect(remedy).toMatch(/[.]$/);
    expect(section).toContain(means);
    expect(section).toContain(remedy);
    for (const [fault, template] of Object.entries<Template>(sentences)) {
      const sentence = textOf(template).replaceAll('\n', ' ').trim();
      expect(section?.replaceAll(/\\([|<])/g, '$1')).toContain(`| \`${fault}\` | ${sentence} |`);
    }
  }
  expect(sections.size).toBe(Object.keys(codes).length + 1);
});

test('an error of a fault has its code, its parameters and its sentence', () => {
  const cause = new Error('why');
  const error = failure('map-too-many', { max: 509 }, { cause });
  expect(error).toBeInstanceOf(TsvswitchError);
  expect(error).toMatchObject({
    code: 'MEMORY_UNMAPPABLE',
    fault: 'map-too-many',
    parameters: { max: 509 },
    cause,
  });
  expect(error.message).toContain('more than 509 regions');
});
