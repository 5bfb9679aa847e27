/**
 * The OpenAPI 3.1 document of the control API, made from the table of operations and their schemas.
 * Loaded by the build and by tests only.
 *
 * Source: OpenAPI Specification 3.1.1.
 */

import type { TSchema } from 'typebox';
import { type Operation, type OperationId, operations } from '../operations.ts';
import { answers, named, streams } from './answers.ts';
import { bodies } from './bodies.ts';

type Json = Record<string, unknown>;

const summaries: Readonly<Record<OperationId, string>> = {
  getStatus: 'The switch, its workers, and every port with all there is to know about it.',
  listPorts: 'Every port.',
  addPort: 'Adds a port.',
  getPort: 'One port.',
  removePort: 'Removes a port; its machine loses its network.',
  listBridges: 'Every bridge.',
  getBridge: 'One bridge.',
  flushBridge: 'Forgets what a bridge has learned.',
  listAddresses: 'The addresses that were learned, of all bridges.',
  listFlows: 'What was delivered from port to port, the busiest pair first.',
  listWorkers: 'The polling threads.',
  addWorker: 'Adds a worker, which takes its share of the queues.',
  getSettings: 'All that is set, as one document that can be changed and applied.',
  applySettings: 'Makes the switch as a document says; what did not change is not touched.',
  getConfig: 'The file of the switch, and what it said when it was read last.',
  reload: 'Reads the file of the switch again, and makes the switch as it says.',
  upgrade: 'Has a new process of the installed version take over, without a machine noticing.',
  stop: 'Ends the switch in order; connections break off once it has ended.',
  getLog: 'What is logged.',
  setLog: 'Changes what is logged, until the file is read again or the switch is restarted.',
  changeNetwork: 'Changes a link, partitions the network or heals it.',
  readEvents: 'What happens from now on.',
  captureBridge: 'What goes over all ports of bridge `default`, until the client closes its side.',
  capturePort: 'What goes over a port, until the client closes its side.',
  getOpenApi: 'This document.',
};

const flagTexts: Readonly<Record<string, string>> = {
  'dry-run': 'Only tells what would be changed.',
  discard: 'What was changed at run time is undone, too.',
};

/** What is named is written once. */
function references<Value>(value: Value, isNamed = false): Value {
  if (typeof value !== 'object' || value === null) return value;
  const [name] = Object.entries<unknown>(named).find(([, schema]) => schema === value) ?? [];
  if (name !== undefined && !isNamed) return { $ref: `#/components/schemas/${name}` } as Value;
  if (Array.isArray(value)) return value.map((item) => references(item)) as Value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, references(part)]),
  ) as Value;
}

const json = (schema: TSchema) => ({ 'application/json': { schema } });

const refusal = {
  description: 'It was not done.',
  content: json(named.Refused),
};

function answerOf(id: OperationId): Json {
  if (id in streams) {
    const media = Object.entries(streams[id as keyof typeof streams]);
    return {
      description: 'What goes on until one of both ends it.',
      content: Object.fromEntries(
        media.map(([type, schema]) => [type, schema === undefined ? {} : { schema }]),
      ),
    };
  }
  const schema = answers[id as keyof typeof answers];
  if (schema === null) return { description: 'Done.' };
  const tag = { description: 'Another one whenever they are others.', schema: { type: 'string' } };
  return {
    description: 'Done.',
    ...(operations[id].tag === 'gives' && { headers: { ETag: tag } }),
    content: json(schema),
  };
}

const ifMatch: Json = {
  ...{ name: 'If-Match', in: 'header', schema: { type: 'string' } },
  description: 'The ETag of the settings as they were read; 412 if they are others now.',
};

/** What stands in the path, behind a question mark, and in the head. */
function parametersOf({ path, flags = [], tag }: Operation): Json[] {
  const name = { name: 'name', in: 'path', required: true, schema: { type: 'string' } };
  return [
    ...(path.includes('{name}') ? [name] : []),
    ...flags.map((flag) => ({
      ...{ name: flag, in: 'query', description: flagTexts[flag], allowEmptyValue: true },
      schema: { type: 'string', enum: [''] },
    })),
    ...(tag === 'takes' ? [ifMatch] : []),
  ];
}

function operationOf(id: OperationId, operation: Operation): Json {
  const parameters = parametersOf(operation);
  const body = (bodies as Partial<Record<OperationId, TSchema>>)[id];
  return {
    operationId: id,
    summary: summaries[id],
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: { required: true, content: json(body) } }),
    responses: { [operation.status]: answerOf(id), default: refusal },
  };
}

/** `version` is that of the package. */
export function openApi(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [id, operation] of Object.entries(operations)) {
    paths[operation.path] ??= {};
    paths[operation.path]![operation.method.toLowerCase()] = operationOf(
      id as OperationId,
      operation,
    );
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'tsvswitch',
      version,
      description: 'A running switch, over its control socket.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://localhost', description: 'On the unix socket of the switch.' }],
    paths: references(paths),
    components: {
      schemas: Object.fromEntries(
        Object.entries(named).map(([name, schema]) => [name, references(schema, true)]),
      ),
    },
  };
}
