/**
 * What requests are answered with, as schemas. They are open: a later switch may say more. Loaded
 * by the build and by tests only, which hold every answer against them.
 */

import Type, { type TSchema } from 'typebox';
import { errorCodes } from '../../model/errors.ts';
import type { Fault, FaultOf } from '../../model/faults/table.ts';
import { logLevels } from '../../model/log-levels.ts';
import type { OperationId } from '../operations.ts';
import { switchEvent } from './events.ts';
import { change, settings } from './settings.ts';

const count = (description: string) => Type.Integer({ description, minimum: 0 });

/** One of some words; later switches may have more. */
const words = <const Word extends string>(list: readonly Word[], description: string) =>
  Type.Unsafe<Word>({ description, type: 'string', enum: list });

const time = (description: string) => Type.String({ description, format: 'date-time' });

const mac = Type.String({ description: 'Six bytes in hexadecimal, with colons.' });

const direction = Type.Object({
  frames: count('Frames.'),
  bytes: count('Their bytes.'),
  notifications: count('Eventfd writes that told the guest about these frames.'),
});

const drops = Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
  description: 'Frames that ended at this port, by reason.',
});

const counters = Type.Object(
  {
    fromGuest: direction,
    toGuest: direction,
    floodedFrames: count('Frames from this guest that went to every other port.'),
    drops,
    impaired: Type.Object(
      {
        held: count('Held back until they were due.'),
        duplicated: count('Sent twice.'),
        reordered: count('Sent late.'),
        corrupted: count('Changed by a bit.'),
      },
      { description: 'What impaired links did to frames that they did not drop.' },
    ),
  },
  { description: 'All since the port was added.' },
);

const ringPlace = {
  queue: count('Even: a receiveq, odd: a transmitq, as the guest sees it; or the control queue.'),
  control: Type.Optional(
    Type.Literal(true, { description: 'It carries commands, and no frames.' }),
  ),
  enabled: Type.Boolean(),
  base: count('Where the switch takes next.'),
};

const ring = Type.Union([
  Type.Object({
    ...ringPlace,
    state: Type.Literal('started'),
    offered: count('Chains that the driver offers and the switch has not taken.'),
    outOfStep: Type.Optional(
      Type.Literal(true, { description: 'Nothing was taken: both sides count laps differently.' }),
    ),
  }),
  Type.Object({
    ...ringPlace,
    state: Type.Literal('broken'),
    fault: Type.Unsafe<FaultOf<'RING_BROKEN'>>({ description: 'Why.', type: 'string' }),
    reason: Type.String({ description: 'The fault as a sentence.' }),
  }),
]);

const frontend = Type.Object(
  {
    pid: Type.Integer(),
    features: Type.Optional(
      Type.Array(Type.String(), { description: 'Absent until a driver has agreed.' }),
    ),
    memory: Type.Object({
      regions: count('Regions that the guest shares.'),
      bytes: count('Of all regions.'),
      hugePageBytes: Type.Optional(
        count('Of the huge pages behind all regions; absent if some are ordinary memory.'),
      ),
    }),
    rings: Type.Array(ring, { description: 'Those that are started, broken ones included.' }),
  },
  { description: 'Who is connected, and what was agreed; absent while nobody is.' },
);

const session = Type.Object(
  {
    since: time('When the frontend connected.'),
    framesFromGuest: count('Since then.'),
    framesToGuest: count('Since then.'),
    drops,
    macsLost: Type.Array(Type.Object({ mac, toPort: Type.String() }), {
      description: 'Addresses that were seen here, and then behind another port.',
    }),
    turnedAway: Type.Optional(
      Type.Object(
        { at: time('When.'), sentence: Type.String() },
        { description: 'The last process that wanted in as well.' },
      ),
    ),
  },
  { description: 'Absent while nobody is connected.' },
);

const endKinds = [
  ...(['frontend-left', 'protocol-error', 'send-failed', 'backend-error'] as const),
  ...(['closed-by-owner', 'memory-lost'] as const),
];

const lastEnd = Type.Object(
  {
    at: time('When.'),
    kind: words(endKinds, 'How it ended.'),
    code: Type.Optional(Type.String({ description: "Of a frontend's mistake." })),
    sentence: Type.Optional(Type.String()),
  },
  { description: 'How a session ended, until a later one has come as far as starting a ring.' },
);

const place = { name: Type.String(), bridge: Type.String() };
const macs = Type.Array(mac, { description: 'Addresses that were seen behind the port.' });

const down = Type.Optional(
  Type.Literal(true, { description: 'Nothing goes through it, as its settings say.' }),
);

const machinePort = Type.Object(
  {
    ...place,
    kind: Type.Literal('vhost-user'),
    path: Type.String(),
    listener: words(['switch', 'machine'], 'Who listens on `path`.'),
    socketLost: Type.Optional(
      Type.Literal(true, { description: 'The file of the socket is gone or replaced.' }),
    ),
    frontend: Type.Optional(frontend),
    counters,
    session: Type.Optional(session),
    lastEnd: Type.Optional(lastEnd),
    waiting: Type.Optional(Type.String({ description: 'Why the socket is of no use now.' })),
    macs,
    down,
  },
  { title: 'A port of a machine' },
);

const otherPort = Type.Object(
  { ...place, kind: words(['host', 'dgram'], 'What the port is made of.'), counters, macs, down },
  { title: 'A port of another kind' },
);

const port = Type.Union([machinePort, otherPort]);

const worker = Type.Object({
  number: count('From 0.'),
  cpu: Type.Optional(count('The CPU it is pinned to.')),
  transmitqs: count('How many transmitqs it polls.'),
});

const bridge = Type.Object({
  name: Type.String(),
  ports: Type.Array(Type.String(), { description: 'The names of its ports.' }),
  addresses: count('How many addresses are known on it.'),
});

const learned = Type.Object({
  mac,
  port: Type.String({ description: 'The port behind which it was seen.' }),
  ageSeconds: count('Since it was last seen, or fixed.'),
  fixed: Type.Optional(Type.Literal(true, { description: 'Settings say so: it was not learned.' })),
  bridge: Type.String(),
});

const flow = Type.Object({
  from: Type.String({ description: 'The port that the frames came from.' }),
  to: Type.Optional(
    Type.String({ description: 'The port they went to; absent for floods to others.' }),
  ),
  frames: count('Delivered since the later of both ports was added.'),
  bytes: count('Their bytes.'),
});

const log = Type.Object({
  level: words(logLevels, 'The least important that is logged.'),
});

const status = Type.Object({
  version: Type.String(),
  pid: Type.Integer(),
  uptimeSeconds: count('Since requests are taken.'),
  workers: Type.Array(worker),
  ports: Type.Array(port),
});

/** By the operation that it answers; null where there is nothing to say. */
export const answers = {
  getStatus: status,
  listPorts: Type.Array(port),
  addPort: machinePort,
  getPort: port,
  removePort: null,
  listBridges: Type.Array(bridge),
  getBridge: bridge,
  flushBridge: null,
  listAddresses: Type.Array(learned),
  listFlows: Type.Array(flow),
  listWorkers: Type.Array(worker),
  addWorker: worker,
  getSettings: settings,
  applySettings: Type.Array(change),
  getConfig: Type.Object({
    file: Type.String({ description: 'Its absolute path.' }),
    settings,
  }),
  reload: Type.Object({
    changes: Type.Array(change),
    restart: Type.Array(Type.String(), {
      description: 'Keys of the file that differ, and that are only read at the start.',
    }),
  }),
  upgrade: Type.Object({
    version: Type.String({ description: 'Of the program that runs now.' }),
    from: Type.String({ description: 'Of the one that ran before.' }),
    pid: Type.Integer({ description: 'The process that runs now.' }),
    sessions: Type.Integer({ description: 'Machines that stayed connected.' }),
    pauseMs: Type.Number({ description: 'How long no frames went, at most, in milliseconds.' }),
  }),
  stop: Type.Object({ pid: Type.Integer({ description: 'The process that ends.' }) }),
  getLog: log,
  setLog: log,
  changeNetwork: null,
  getOpenApi: Type.Object({}),
} as const satisfies Partial<Record<OperationId, TSchema | null>>;

/** What goes on, by its media type. */
export const streams = {
  readEvents: { 'application/jsonl': switchEvent, 'text/event-stream': undefined },
  captureBridge: { 'application/x-pcapng': undefined },
  capturePort: { 'application/x-pcapng': undefined },
} as const satisfies Record<Exclude<OperationId, keyof typeof answers>, object>;

/** Of a request that cannot be served. */
const refused = Type.Object({
  code: words(Object.keys(errorCodes), 'For programs.'),
  error: Type.String({ description: 'For people: what is wrong and how to mend it.' }),
  fault: Type.Optional(
    Type.Unsafe<Fault>({ description: 'Says more than the code.', type: 'string' }),
  ),
  parameters: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: 'What the sentence is filled with.',
    }),
  ),
  findings: Type.Optional(
    Type.Array(
      Type.Object({
        path: Type.Array(Type.String(), { description: 'Keys and indexes down to a value.' }),
        part: words(['key', 'value'], 'Which part of the last step is meant.'),
        sentence: Type.String({ description: 'What is wrong with it.' }),
      }),
      { description: 'Everything in the body that does not fit, with the path to it.' },
    ),
  ),
});

/** Those that occur more than once, by the name that other languages give their types. */
export const named = {
  Refused: refused,
  SwitchEvent: switchEvent,
  Port: port,
  MachinePort: machinePort,
  OtherPort: otherPort,
  Counters: counters,
  Bridge: bridge,
  Worker: worker,
  Settings: settings,
  Change: change,
} as const satisfies Record<string, TSchema>;
