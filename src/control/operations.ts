/**
 * The requests that a switch answers, as one table: server, client and openapi.json (schema/) have
 * no other. What each takes and gives is in protocol.ts.
 *
 * Imports types only, so that a client loads nothing but this.
 */

import type { Operations } from './protocol.ts';

/** What a request is called. */
export type OperationId = keyof Operations;

/** One request: where it goes, how its answer begins, and who may make it. */
export interface Operation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** A part in braces is a name, written as in a URL. */
  readonly path: string;
  readonly status: 200 | 201 | 204;
  /** `read`: also a client that may only look. */
  readonly access: Access;
  /** Words that may stand behind a question mark. */
  readonly flags?: readonly string[];
  /** `gives` a tag of what it answers; `takes` one, and does nothing if that is no more. */
  readonly tag?: 'gives' | 'takes';
}

/** What a client may do: look, or everything. Frames are not for those who only look. */
export type Access = 'read' | 'all';

const read = { method: 'GET', status: 200, access: 'read' } as const;
const capture = { method: 'GET', status: 200, access: 'all' } as const;
const add = { method: 'POST', status: 201, access: 'all' } as const;
const change = { method: 'POST', status: 204, access: 'all' } as const;
const remove = { method: 'DELETE', status: 204, access: 'all' } as const;

export const operations: Readonly<Record<OperationId, Operation>> = {
  getStatus: { ...read, path: '/v1/status' },
  listPorts: { ...read, path: '/v1/ports' },
  addPort: { ...add, path: '/v1/ports' },
  getPort: { ...read, path: '/v1/ports/{name}' },
  removePort: { ...remove, path: '/v1/ports/{name}' },
  listBridges: { ...read, path: '/v1/bridges' },
  getBridge: { ...read, path: '/v1/bridges/{name}' },
  flushBridge: { ...change, path: '/v1/bridges/{name}/flush' },
  listAddresses: { ...read, path: '/v1/fdb' },
  listFlows: { ...read, path: '/v1/flows' },
  listWorkers: { ...read, path: '/v1/workers' },
  addWorker: { ...add, path: '/v1/workers' },
  getSettings: { ...read, path: '/v1/settings', tag: 'gives' },
  applySettings: {
    ...{ method: 'PUT', path: '/v1/settings', status: 200, access: 'all' },
    flags: ['dry-run'],
    tag: 'takes',
  },
  getConfig: { ...read, path: '/v1/config' },
  reload: {
    ...{ method: 'POST', path: '/v1/reload', status: 200, access: 'all' },
    flags: ['dry-run', 'discard'],
  },
  stop: { method: 'POST', path: '/v1/stop', status: 200, access: 'all' },
  getLog: { ...read, path: '/v1/log' },
  setLog: { method: 'PUT', path: '/v1/log', status: 200, access: 'all' },
  upgrade: { method: 'POST', path: '/v1/upgrade', status: 200, access: 'all' },
  changeNetwork: { ...change, path: '/v1/network' },
  readEvents: { ...read, path: '/v1/events' },
  captureBridge: { ...capture, path: '/v1/capture' },
  capturePort: { ...capture, path: '/v1/capture/{name}' },
  getOpenApi: { ...read, path: '/v1/openapi.json' },
};
