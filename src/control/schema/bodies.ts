/**
 * What the requests that change something take, as schemas. They hold what fits together in one
 * field; whether a socket's path is free or a port is there, the switch finds out.
 *
 * No defaults: what is left out is left to the switch. Loaded by the build and by tests only.
 */

import Type, { type Static, type TSchema, type TSchemaOptions } from 'typebox';
import type { NamedLink } from '../../index.ts';
import { type LogLevel, logLevels } from '../../model/log-levels.ts';
import { impairmentSettings, vhostUserSettings } from '../../model/settings-schema.ts';
import type { OperationId } from '../operations.ts';
import { written } from './settings.ts';

const closed = { additionalProperties: false } as const;

/** The same without defaults, at any depth. */
function plain<Schema extends TSchema>(schema: Schema): Schema {
  return JSON.parse(
    JSON.stringify(schema, (key, part) => (key === 'default' ? undefined : part)),
  ) as Schema;
}

/** A port of a machine, as a body names it. */
const { bridge, source, connect, mode, group, allow, ringReset, inBand, mtu } =
  plain(vhostUserSettings).properties;

/** Every line and sentence with a path in it is one line. */
const path = (description: string) =>
  Type.String({
    ...connect,
    description,
    maxLength: 1024,
    pattern: '^/(?:[^\\p{C}\\p{Z}]| )*$',
    patternErrorMessage: 'a path begins with / and has printable characters',
  });

const { patternErrorMessage: nameRule = '' }: TSchemaOptions = { ...bridge };

const ofAnyPort = {
  name: Type.Optional(
    Type.String({
      ...bridge,
      patternErrorMessage: nameRule.replace('bridge', 'port'),
      description: "Unique on the switch; the socket's file name without `.sock` unless given.",
    }),
  ),
  bridge: Type.Optional(
    Type.String({
      ...bridge,
      description: 'The bridge that the port is on, made if it is not there; `default` if none.',
    }),
  ),
  source: Type.Optional(
    Type.Object(
      {
        macs: Type.Optional(source.properties.macs),
        addresses: Type.Optional(source.properties.addresses),
      },
      { description: 'What the guest may send from; anything if not given.', ...closed },
    ),
  ),
  allow: Type.Optional(allow),
  ringReset: Type.Optional(ringReset),
  inBand: Type.Optional(inBand),
  mtu: Type.Optional(mtu),
};

export const newPort = Type.Union([
  Type.Object(
    {
      path: path('The unix socket that the switch listens on for the machine.'),
      ...ofAnyPort,
      mode: Type.Optional(mode),
      group: Type.Optional(group),
    },
    { title: 'A port that listens', ...closed },
  ),
  Type.Object(
    { connect: path('The unix socket of a machine that listens.'), ...ofAnyPort },
    { title: 'A port that connects', ...closed },
  ),
]);

/** As the command line calls them. */
export const logLevel = Type.Unsafe<LogLevel>({
  description: 'The least important that is logged.',
  type: 'string',
  enum: [...logLevels],
});

const portName = Type.String({ description: 'The name of a port.' });

/** One schema, not a union: which keys go together, the switch says better. */
const link = Type.Unsafe<NamedLink>(
  Type.Object(
    {
      port: Type.Optional(portName),
      direction: Type.Optional(
        Type.Unsafe<'fromGuest' | 'toGuest'>({ type: 'string', enum: ['fromGuest', 'toGuest'] }),
      ),
      from: Type.Optional(portName),
      to: Type.Optional(portName),
      between: Type.Optional(
        Type.Unsafe<[string, string]>({ type: 'array', items: portName, minItems: 2, maxItems: 2 }),
      ),
    },
    {
      description:
        'Between a machine and its `port`, both ways or in one direction; on the way from a port ' +
        'to another; or on both ways between two.',
      ...closed,
    },
  ),
);

const impairment = Type.Object(
  {
    ...impairmentSettings.properties,
    blackhole: Type.Optional(plain(impairmentSettings).properties.blackhole),
    rate: Type.Optional(
      Type.Object(
        {
          bitsPerSecond: impairmentSettings.properties.rate.properties.bitsPerSecond,
          queueBytes: Type.Optional(
            plain(impairmentSettings.properties.rate).properties.queueBytes,
          ),
        },
        { description: 'How much passes.', ...closed },
      ),
    ),
  },
  { description: 'All that is wrong with the link; `{}` makes it whole.', ...closed },
);

export const networkChange = Type.Union([
  Type.Object({ link, impairment }, { title: 'A link', ...closed }),
  Type.Object(
    {
      partition: Type.Array(Type.Array(portName), {
        description: 'Two or more sides that do not hear each other; ports on no side hear all.',
      }),
    },
    { title: 'A partition', ...closed },
  ),
  Type.Object({ heal: Type.Literal(true) }, { title: 'The end of a partition', ...closed }),
]);

export const newWorker = Type.Object(
  {
    cpu: Type.Optional(
      Type.Integer({
        description: 'Pins it to this CPU, which has no other worker.',
        minimum: 0,
        maximum: 1023,
      }),
    ),
  },
  closed,
);

export const log = Type.Object({ level: logLevel }, closed);

/** By the operation that takes it. */
export const bodies = {
  addPort: newPort,
  applySettings: written,
  changeNetwork: networkChange,
  addWorker: newWorker,
  setLog: log,
} as const satisfies Partial<Record<OperationId, TSchema>>;

export type Bodies = { [Id in keyof typeof bodies]: Static<(typeof bodies)[Id]> };
