/**
 * Settings and their changes as they go over the control socket. What may be sent leaves out what
 * has a default; what is answered is whole, and open as every answer is. Loaded by the build and by
 * tests only.
 */

import Type, { type Static, type TProperties, type TSchema } from 'typebox';
import type { WrittenSettings } from '../../index.ts';
import {
  bridgeSettings,
  fixedAddress,
  impairmentSettings,
  linkSettings,
  portSchemas,
  switchSettings,
} from '../../model/settings-schema.ts';

type Json = Readonly<Record<string, unknown>>;

/** The same with each schema in it, from the innermost outwards, made into another one. */
function rewritten<Schema extends TSchema>(schema: Schema, rewrite: (part: Json) => Json): Schema {
  return JSON.parse(
    JSON.stringify(schema, (key, part: unknown) => {
      const isSchema = typeof part === 'object' && part !== null && !Array.isArray(part);
      return isSchema && key !== 'properties' ? rewrite(part as Json) : part;
    }),
  ) as Schema;
}

/** As it may be sent. A port without `kind` is one of a machine. */
export const written = Type.Unsafe<WrittenSettings>(
  rewritten(switchSettings, ({ required, oneOf, discriminator: _, ...part }) => {
    const properties = (part.properties ?? {}) as Record<string, { readonly default?: unknown }>;
    const isNeeded = (key: string) =>
      properties[key]?.default === undefined && (oneOf !== undefined || key !== 'kind');
    const needed = ((required ?? []) as string[]).filter(isNeeded);
    return {
      ...part,
      ...(needed.length > 0 && oneOf === undefined && { required: needed }),
      ...(oneOf !== undefined && { anyOf: oneOf }),
    };
  }),
);

/** What only says why something is refused, or is filled in. */
const ofRequests = ['pattern', 'patternErrorMessage', 'propertyNames', 'default', 'discriminator'];

/** As it is answered: a later switch may say more. */
function answered<Schema extends TSchema>(schema: Schema): Schema {
  return rewritten(schema, (part) =>
    Object.fromEntries(
      Object.entries(part).filter(
        ([key, value]) =>
          !ofRequests.includes(key) && !(key === 'additionalProperties' && value === false),
      ),
    ),
  );
}

export const settings = answered(switchSettings);

const ports = Object.values(portSchemas);
const port = Type.Unsafe<Static<(typeof ports)[number]>>({
  anyOf: ports.map((schema) => answered(schema)),
});
const bridge = answered(bridgeSettings);
const workers = answered(Type.Pick(switchSettings, ['workers', 'cpus', 'idleUs', 'balance']));
const address = answered(fixedAddress);
const keys = Type.Array(Type.String(), { description: 'The settings that differ.' });

const deed = <const Name extends string, Fields extends TProperties>(type: Name, fields: Fields) =>
  Type.Object(
    {
      type: Type.Literal(type),
      disturbs: Type.Unsafe<'nobody' | 'port' | 'unlisted'>({
        description:
          'Who loses a connection: nobody, the machine on the port, or that one only if `allow` ' +
          'lists its process no more.',
        ...{ type: 'string', enum: ['nobody', 'port', 'unlisted'] },
      }),
      ...fields,
    },
    { title: type },
  );

const ofPort = { port: Type.String() };
const ofBridge = { bridge: Type.String() };

/** What was done, or would be. */
export const change = Type.Union([
  deed('port-removed', ofPort),
  deed('bridge-added', { ...ofBridge, to: bridge }),
  deed('bridge-changed', { ...ofBridge, keys, from: bridge, to: bridge }),
  deed('port-changed', { ...ofPort, keys, from: port, to: port }),
  deed('port-reopened', { ...ofPort, keys, to: port }),
  deed('port-added', { ...ofPort, to: port }),
  deed('bridge-removed', ofBridge),
  deed('address-fixed', { address }),
  deed('address-freed', { address }),
  deed('link-changed', {
    link: answered(Type.Pick(linkSettings, ['from', 'to'])),
    to: Type.Optional(answered(impairmentSettings)),
  }),
  deed('partition-changed', { to: Type.Array(Type.Array(Type.String())) }),
  deed('workers-changed', { keys, from: workers, to: workers }),
]);
