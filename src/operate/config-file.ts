/**
 * Reads the file of a service: YAML in, complete settings out, and every complaint with file, line
 * and column, all of them at once.
 *
 * Its keys are those of the API, so that what a running switch answers can be written into it. It
 * is read more kindly than JSON in two places where YAML 1.2 would surprise: permissions are their
 * digits, as 660, 0660 or 0o660, and `on` and `off` are switches where a switch is wanted.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { isPair, isScalar, visit } from 'yaml';
import { checkDocument } from '../model/check.ts';
import { failure, type TsvswitchError } from '../model/errors.ts';

import { complaint, type Finding } from '../model/findings.ts';
import type { SchemaFiles } from '../model/schema.ts';
import type { SwitchSettings } from '../model/settings.ts';
import { type FileKind, readText, YamlText } from '../yaml/yaml-file.ts';
import type { ServiceConfig, ServiceSettings } from './settings.ts';
import { defaultStateFolder, givenStateFolder } from './state/state-folder.ts';

/** From src/operate as well as from dist/operate. */
export const configSchema: SchemaFiles = {
  schema: new URL('../../tsvswitch.schema.json', import.meta.url),
  compiled: new URL('./compiled-config.cjs', import.meta.url),
};

const configKind: FileKind = {
  noun: 'switch',
  smallest: '`ports: { web: { path: /run/vsw/web.sock } }` is enough',
  option: '--config',
  faults: {
    unreadable: 'config-unreadable',
    tooLong: 'config-too-long',
    noText: 'config-no-text',
    invalid: 'config-no-yaml',
    empty: 'config-empty',
    aliases: 'config-aliases',
  },
};

const systemPath = '/etc/tsvswitch/tsvswitch.yaml';

/**
 * Where the file is unless the command names another: $TSVSWITCH_CONFIG, else the user's own
 * tsvswitch/tsvswitch.yaml in $XDG_CONFIG_HOME or ~/.config if there is one, else the system's.
 */
export function defaultConfigPath(): string {
  const named = process.env.TSVSWITCH_CONFIG;
  if (named) return named;
  const folder = process.env.XDG_CONFIG_HOME || join(homedir(), '.config');
  const own = join(folder, 'tsvswitch', 'tsvswitch.yaml');
  return existsSync(own) ? own : systemPath;
}

/**
 * Where what was changed at run time is kept: the service manager's folder, else the user's or the
 * system's, in it one for each file, since several switches may run on a host.
 */
export function stateFolderOf(path: string): string {
  const given = givenStateFolder(process.env);
  if (given !== undefined) return given;
  const file = resolve(path);
  const hash = createHash('sha256').update(file).digest('hex').slice(0, 8);
  const folder = defaultStateFolder(process.env, process.getuid!());
  return join(folder, `${basename(file).replace(/\.ya?ml$/, '')}-${hash}`);
}

/** Throws CONFIG_UNREADABLE, CONFIG_INVALID. */
export async function readConfig(path: string): Promise<ServiceConfig> {
  return configOfText(await readText(path, configKind), path);
}

/** `name` is the file as the user called it. Throws CONFIG_INVALID with a line for each mistake. */
export function configOfText(text: string, name: string): ServiceConfig {
  const yaml = new YamlText(text, name, configKind);
  readKindly(yaml);
  const checked = checkDocument(yaml.value(), configSchema);
  if ('findings' in checked) throw invalid(yaml, checked.findings);
  const { control, listen, metrics, log, sandbox, ...settings } =
    checked.settings as ServiceSettings & SwitchSettings;
  return {
    service: {
      ...(control === undefined ? {} : { control }),
      ...(listen === undefined ? {} : { listen }),
      ...(metrics === undefined ? {} : { metrics }),
      log,
      sandbox,
    },
    settings,
  };
}

function invalid(yaml: YamlText, findings: readonly Finding[]): TsvswitchError {
  return failure('config-invalid', { findings: complaint('the file', findings, yaml) });
}

/** Keys of permissions, and keys that are on or off, wherever in the file they stand. */
const modeKeys: readonly unknown[] = ['mode'];
const switchKeys: readonly unknown[] = ['balance', 'blackhole', 'inBand', 'ringReset', 'sandbox'];

function readKindly({ document }: YamlText): void {
  visit(document, {
    Pair(_key, pair) {
      const { key, value } = pair;
      if (!isPair(pair) || !isScalar(key) || !isScalar(value)) return;
      if (modeKeys.includes(key.value) && typeof value.value === 'number') {
        value.value = (value.source ?? '').replace(/^0o?(?=[0-7]{3}$)/, '');
      }
      if (switchKeys.includes(key.value) && (value.value === 'on' || value.value === 'off')) {
        value.value = value.value === 'on';
      }
    },
  });
}
