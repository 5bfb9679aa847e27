/**
 * The schemas of settings, which are plain JSON Schema: what a file, the API, editors and the
 * reference know of a setting comes from here.
 *
 * The build prints them as settings.schema.json and makes a check of that (compile-schema.ts);
 * nothing else but tests loads this module, so that typebox is not installed with a switch. The
 * types are in settings.ts. Imports nothing else, does nothing.
 */

import Type, { type Static, type TSchema } from 'typebox';

/** Keys that our checks and sentences know beside those of JSON Schema. */
declare module 'typebox' {
  interface TSchemaOptions {
    /** Follows "does not fit: ". */
    patternErrorMessage?: string;
  }
}

export const strict = { additionalProperties: false } as const;
const int32Max = 2 ** 31 - 1;

const name = (noun: string) =>
  Type.String({
    pattern:
      '^(?! )(?!.*(?: $|: ))(?:[^\\p{C}\\p{Z}\\p{Default_Ignorable_Code_Point}\\u2800]| ){1,128}$',
    patternErrorMessage:
      `the name of a ${noun} is 1 to 128 visible characters, with plain spaces only between them ` +
      'and none behind a colon',
  });

/** A mapping whose keys are names. */
const byName = <Schema extends TSchema>(noun: string, schema: Schema, description: string) =>
  Type.Unsafe<Record<string, Static<Schema>>>({
    description,
    type: 'object',
    propertyNames: name(noun),
    additionalProperties: schema,
    default: {},
  });

export const pathText = {
  pattern: '^/[^\\u0000]*$',
  patternErrorMessage: 'a path begins with /',
} as const;

export const path = (description: string) => Type.String({ description, ...pathText });

const probability = (description: string) => Type.Number({ description, minimum: 0, maximum: 1 });

const delay = (description: string) =>
  Type.Number({ description, minimum: 0, maximum: 86_400_000 });

/** One schema, not a union: what does not fit then has one sentence. */
export const nameOrNumber = (description: string) =>
  Type.Unsafe<string | number>({
    description,
    type: ['string', 'integer'],
    minLength: 1,
    minimum: 0,
    maximum: 2 ** 32 - 2,
  });

export const octalText = {
  pattern: '^[0-7]{3}$',
  patternErrorMessage: 'permissions are three octal digits, such as 660',
} as const;

const socketMode = Type.String({
  description: 'Permissions of the socket file, three octal digits.',
  ...octalText,
  default: '660',
});

const macText = {
  pattern: '^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$',
  patternErrorMessage: 'a MAC address is six bytes, such as 52:54:00:00:00:01',
} as const;

export const sourceSettings = Type.Object(
  {
    macs: Type.Array(Type.String(macText), {
      description: 'MAC addresses; any unless given.',
      maxItems: 64,
      default: [],
    }),
    addresses: Type.Array(
      Type.String({
        pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$',
        patternErrorMessage: 'an IP address or network is such as 10.0.0.1, fd00::1 or 10.0.0.0/24',
      }),
      { description: 'IP addresses and networks; any unless given.', maxItems: 64, default: [] },
    ),
  },
  { description: 'What the guest may send from; what it sends from others is dropped.', ...strict },
);

const place = {
  bridge: Type.String({
    ...name('bridge'),
    description: 'The bridge that the port is on.',
    default: 'default',
  }),
  source: Type.Optional(sourceSettings),
  down: Type.Optional(
    Type.Boolean({ description: 'Nothing goes through the port; its machine stays connected.' }),
  ),
};

export const vhostUserSettings = Type.Object(
  {
    kind: Type.Literal('vhost-user'),
    ...place,
    path: Type.Optional(path('The unix socket that the switch listens on for the machine.')),
    connect: Type.Optional(path('The unix socket of a machine that listens.')),
    mode: socketMode,
    group: Type.Optional(nameOrNumber('Group of the socket file.')),
    allow: Type.Optional(
      Type.Array(nameOrNumber('A user, or a group as `:kvm`.'), {
        description: 'Whose processes may connect; all unless given.',
        minItems: 1,
      }),
    ),
    ringReset: Type.Boolean({
      description: 'Offers VIRTIO_F_RING_RESET; not for QEMU, which tells nobody of a reset.',
      default: false,
    }),
    inBand: Type.Boolean({
      description: 'Offers in-band notifications, for frontends that have no eventfds.',
      default: false,
    }),
    mtu: Type.Integer({
      description: 'The MTU of a guest whose frontend reads it from the switch.',
      minimum: 68,
      maximum: 65_535,
      default: 1500,
    }),
  },
  { description: 'A machine, over a vhost-user socket.', ...strict },
);

export const processSettings = Type.Object(
  { kind: Type.Literal('process'), ...place },
  { description: 'The process itself, which sends and receives frames.', ...strict },
);

export const dgramSettings = Type.Object(
  {
    kind: Type.Literal('dgram'),
    ...place,
    path: path('The unix datagram socket on which the port takes frames.'),
    peer: path('The unix datagram socket on which the machine takes frames.'),
    mode: socketMode,
  },
  { description: 'A machine or program, one frame a datagram.', ...strict },
);

/** The kinds of port; `kind` tells which. */
export const portSchemas = {
  'vhost-user': vhostUserSettings,
  process: processSettings,
  dgram: dgramSettings,
} as const satisfies Record<string, TSchema>;

const schemasOfPorts = Object.values(portSchemas);

/** Of a kind that is named, since what does not fit is told of that kind alone. */
const portSettings = Type.Unsafe<Static<(typeof schemasOfPorts)[number]>>({
  type: 'object',
  required: ['kind'],
  discriminator: { propertyName: 'kind' },
  oneOf: schemasOfPorts,
});

const ageingSeconds = {
  description: 'How long a silent address is remembered, in seconds; 0 for ever.',
  minimum: 0,
  maximum: int32Max,
};

export const bridgeSettings = Type.Object(
  { ageingSeconds: Type.Optional(Type.Integer(ageingSeconds)) },
  strict,
);

/** More take a switch that learns. */
const fixedMax = 4096;

export const fixedAddress = Type.Object(
  {
    mac: Type.String({ description: 'The address of a network card.', ...macText }),
    port: Type.Optional(Type.String({ description: 'The port that it is behind.' })),
    bridge: Type.Optional(
      Type.String({
        description: 'Of an address without a port: what is sent to it on this bridge ends.',
      }),
    ),
  },
  { description: 'An address whose place is fixed.', ...strict },
);

const burstSettings = Type.Object(
  {
    turnsBad: probability('That a good wire turns bad, with each frame.'),
    turnsGood: probability('That a bad wire turns good, with each frame.'),
    lossWhenBad: Type.Optional(probability('Of a loss while it is bad; 1 unless given.')),
    lossWhenGood: Type.Optional(probability('Of a loss while it is good; 0 unless given.')),
  },
  strict,
);

const lossSettings = Type.Unsafe<number | Static<typeof burstSettings>>({
  ...burstSettings,
  description: 'The probability that a frame is lost, or losses in bursts (Gilbert and Elliott).',
  type: ['number', 'object'],
  minimum: 0,
  maximum: 1,
});

export const impairmentSettings = Type.Object(
  {
    blackhole: Type.Boolean({ description: 'Nothing passes.', default: false }),
    mtuBytes: Type.Optional(
      Type.Integer({
        description: 'The longest packet, without Ethernet header and VLAN tag.',
        minimum: 68,
        maximum: 65_536,
      }),
    ),
    rate: Type.Optional(
      Type.Object(
        {
          bitsPerSecond: Type.Integer({ minimum: 300, maximum: 10 ** 12 }),
          queueBytes: Type.Integer({
            description: 'What may wait for its turn; more is dropped.',
            minimum: 0,
            maximum: 2 ** 31,
            default: 65_536,
          }),
        },
        { description: 'How much passes.', ...strict },
      ),
    ),
    loss: Type.Optional(lossSettings),
    delayMs: Type.Optional(delay('How long each frame takes.')),
    jitterMs: Type.Optional(delay('The delay varies by up to this much, up and down.')),
    duplicate: Type.Optional(probability('That a frame arrives twice.')),
    corrupt: Type.Optional(probability('That one bit of a frame arrives inverted.')),
    reorder: Type.Optional(
      Type.Object(
        {
          probability: probability('That a frame is late, so that those behind it pass.'),
          lateByMs: delay('By how much.'),
        },
        strict,
      ),
    ),
  },
  strict,
);

export const linkSettings = Type.Object(
  {
    from: Type.Optional(Type.String({ description: 'The port that frames come from.' })),
    to: Type.Optional(Type.String({ description: 'The port that frames go to.' })),
    impairment: impairmentSettings,
  },
  {
    description:
      'One direction of a link: from a port to another; without `to` between a machine and its ' +
      'port, without `from` between a port and its machine.',
    ...strict,
  },
);

export const switchSettings = Type.Object(
  {
    workers: Type.Integer({
      description: 'Polling threads.',
      minimum: 1,
      maximum: 64,
      default: 1,
    }),
    cpus: Type.Array(Type.Integer({ minimum: 0, maximum: 1023 }), {
      description: 'CPUs that the workers are pinned to, at most one each.',
      uniqueItems: true,
      default: [],
    }),
    idleUs: Type.Integer({
      description: 'How long a worker polls without work before it sleeps, in microseconds.',
      minimum: 0,
      maximum: int32Max,
      default: 50,
    }),
    balance: Type.Boolean({
      description: 'Moves transmitqs between workers while their load is uneven.',
      default: false,
    }),
    ageingSeconds: Type.Integer({ ...ageingSeconds, default: 300 }),
    bridges: byName('bridge', bridgeSettings, 'Bridges by name. One that a port names is there.'),
    ports: byName('port', portSettings, 'Ports by name.'),
    fdb: Type.Array(fixedAddress, {
      description: 'Addresses whose place is fixed: they are neither learned nor forgotten.',
      maxItems: fixedMax,
      default: [],
    }),
    links: Type.Array(linkSettings, { description: 'Links that are impaired.', default: [] }),
    partition: Type.Array(Type.Array(Type.String()), {
      description: 'Ports on different sides do not hear each other; ports on no side hear all.',
      default: [],
    }),
  },
  { title: 'tsvswitch', description: 'What is wanted of a switch.', ...strict },
);
