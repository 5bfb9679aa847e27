/**
 * Checks a document of settings and completes it: defaults in their places, bridges that only ports
 * name, the kind of a port that says none. All that is wrong is told at once.
 */

import { conflicts } from './conflicts.ts';
import { type Finding, findingsOf, isMapping } from './findings.ts';
import { defaultBridge } from './place.ts';
import { type SchemaFiles, settingsSchema, validatorOf } from './schema.ts';
import type { SwitchSettings } from './settings.ts';
import { SettingsError } from './settings-error.ts';

/** Where no bridge is named. */
const kindDefault = 'vhost-user';

type Checked = { readonly findings: readonly Finding[] } | { readonly settings: SwitchSettings };

/** A tree of plain values, such as JSON or YAML gives; it stays as it is. */
export function checkSettings(document: unknown): Checked {
  return checkDocument(document, settingsSchema);
}

/** Of a document that has the keys of settings, and those that its schema has beside them. */
export function checkDocument(document: unknown, schema: SchemaFiles): Checked {
  const copy = withKinds(structuredClone(document));
  const validate = validatorOf(schema);
  if (!validate(copy)) return { findings: findingsOf(validate.errors ?? []) };
  const settings = withBridges(copy as SwitchSettings);
  const findings = conflicts(settings);
  return findings.length > 0 ? { findings } : { settings };
}

/** The same for a program. Throws BAD_OPTION with a sentence for each thing that is wrong. */
export function settingsOf(document: unknown): SwitchSettings {
  const checked = checkSettings(document);
  if ('settings' in checked) return checked.settings;
  throw new SettingsError(checked.findings);
}

function withKinds(document: unknown): unknown {
  if (!isMapping(document) || !isMapping(document.ports)) return document;
  for (const port of Object.values(document.ports)) {
    if (isMapping(port) && port.kind === undefined) port.kind = kindDefault;
  }
  return document;
}

function withBridges(settings: SwitchSettings): SwitchSettings {
  const { ageingSeconds } = settings;
  const names = [
    defaultBridge,
    ...Object.keys(settings.bridges),
    ...Object.values(settings.ports).map(({ bridge }) => bridge),
  ];
  const bridges = Object.fromEntries(
    names.map((bridge) => [bridge, { ageingSeconds, ...settings.bridges[bridge] }]),
  );
  return { ...settings, bridges };
}
