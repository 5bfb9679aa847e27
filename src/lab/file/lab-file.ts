/**
 * Reads a lab's file: YAML in, a plan out, and every complaint with file, line and column.
 *
 * YAML's own mistakes are told first, all of them (yaml-file.ts); only what is whole YAML is looked
 * at as a lab. What stands below `userData` is read once more, as cloud-init would
 * (cloud-init-yaml.ts).
 */

import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { failure } from '../../model/errors.ts';
import { type Finding, isMapping } from '../../model/findings.ts';
import { type FileKind, readText, YamlText, yamlValue } from '../../yaml/yaml-file.ts';
import { cloudInitReading, handedOn } from './cloud-init-yaml.ts';
import { type LabDefinition, userDataKey } from './definition.ts';
import { type LabPlan, planOf } from './plan.ts';

const labFile: FileKind = {
  noun: 'lab',
  smallest: '`machines: { vm1: {}, vm2: {} }` is enough',
  option: '-f',
  faults: {
    unreadable: 'lab-unreadable',
    tooLong: 'lab-too-long',
    noText: 'lab-no-text',
    invalid: 'lab-no-yaml',
    empty: 'lab-empty',
    aliases: 'lab-aliases',
  },
};

/** `path` may be relative; complaints name the file as it is given here. */
export async function readLabFile(path: string): Promise<LabPlan> {
  const text = await readText(path, labFile);
  // A pipe has no path of its own.
  return planOfText(text, { name: path, file: await realpath(path).catch(() => resolve(path)) });
}

/** `name` is the file as the user called it, and `file` its absolute path. Throws LAB_INVALID. */
export function planOfText(text: string, { name, file }: { name: string; file: string }): LabPlan {
  const yaml = new YamlText(text, name, labFile);
  const { definition, findings } = withUserData(
    yaml.value() as LabDefinition,
    () => yaml.value(cloudInitReading) as LabDefinition,
  );
  return planOf(definition, {
    file,
    text: { name, findings, position: (path, part) => yaml.position(path, part) },
  });
}

/**
 * The value of one key of a machine, written as in the file but for itself. Throws LAB_INVALID, or
 * what the yaml package throws if it is no YAML.
 */
export function settingOfText(key: string, text: string): unknown {
  if (key !== userDataKey) return yamlValue(text);
  const value = yamlValue(text, cloudInitReading);
  return handedOn(value, [key], (path, sentence) => {
    throw failure('setting-invalid', { path: path.join('.'), what: sentence });
  });
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
