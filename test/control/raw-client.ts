/**
 * Clients of a control socket that write HTTP themselves, byte for byte, as curl and hostile
 * programs do.
 */

import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import type { EventsLost, SwitchEvent } from '../../src/index.ts';
import { codeOf, isFault, told } from '../../src/model/faults/table.ts';
import { printable } from '../../src/model/wording.ts';
import { misfitsOfAnswer } from './documented.ts';

export interface Response {
  readonly status: number;
  readonly text: string;
}

/** A request as curl would make it; its answer is one that openapi.json describes. */
export async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: string | Buffer,
): Promise<Response> {
  const response = await exchange(socketPath, method, path, body);
  expect(misfitsOfAnswer(method, path, response)).toEqual([]);
  return response;
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body?: string | Buffer,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve({ status: response.statusCode!, text }));
    });
    outgoing.end(body);
  });
}

/**
 * The status and code of a refusal, which has one sentence, that of each field that does not fit,
 * and nothing else.
 */
export async function refusal(asked: Promise<Response>): Promise<string> {
  const { status, text } = await asked;
  const { code, error, fault, parameters, findings = [], ...others } = JSON.parse(text);
  expect(others).toEqual({});
  // What does not fit is data of its own, and so has no fault.
  if (findings.length === 0) {
    expect(isFault(fault) && codeOf(fault)).toBe(code);
    expect(error).toContain(printable(told(fault, parameters).sentence));
  }
  expect(error).toMatch(/^[^\n]+$/);
  for (const finding of findings) {
    expect(error).toContain(printable(finding.sentence));
    expect(finding.path.every((step: unknown) => typeof step === 'string')).toBe(true);
    expect(finding.part).toMatch(/^(key|value)$/);
  }
  return `${status} ${code}`;
}

/**
 * A connection that says what it wants, byte for byte, and everything it is answered until its end.
 */
export function raw(
  socketPath: string,
  bytes: string,
): { socket: Socket; answer: Promise<string> } {
  const socket = connect(socketPath);
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const answer = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
  socket.on('error', () => {});
  socket.write(bytes);
  return { socket, answer };
}

/** A connection that says what it wants, and the parts of its answer so far. */
export function reading(socketPath: string, bytes: string): { socket: Socket; parts: string[] } {
  const socket = connect(socketPath);
  const parts: string[] = [];
  socket.setEncoding('utf8').on('data', (part: string) => parts.push(part));
  socket.on('error', () => {});
  socket.write(bytes);
  return { socket, parts };
}

/** As many, one after the other: a socket's backlog is short. */
export async function readers(
  socketPath: string,
  count: number,
  bytes: string,
): Promise<ReturnType<typeof reading>[]> {
  const all: ReturnType<typeof reading>[] = [];
  while (all.length < count) {
    const one = reading(socketPath, bytes);
    try {
      await once(one.socket, 'connect');
      all.push(one);
    } catch {
      // The backlog is full until the server's turn.
      await new Promise(setImmediate);
    }
  }
  return all;
}

/** The events in an answer of chunks, which end where lines do. */
export function eventsIn(parts: readonly string[]): (SwitchEvent | EventsLost)[] {
  const lines = parts.join('').split('\n');
  return lines.slice(0, -1).flatMap((line) => (line.startsWith('{') ? JSON.parse(line) : []));
}
