/**
 * The events of a switch, as schemas of their JSON. Loaded by the build and by tests only.
 */

import Type, { type TProperties } from 'typebox';
import type { CloseReason, Impairment, SwitchEvent } from '../../index.ts';
import type { BreakFault } from '../../model/faults/table.ts';
import { change } from './settings.ts';

const event = <const Name extends string, Fields extends TProperties>(type: Name, fields: Fields) =>
  Type.Object({ type: Type.Literal(type), ...fields }, { title: type });

/** An event of a port. */
const ofPort = <const Name extends string, Fields extends TProperties>(
  type: Name,
  fields: Fields,
) => event(type, { port: Type.String(), ...fields });

/** What went wrong, as data and as a sentence. */
const mistake = <Mistake extends { readonly code: string; readonly fault: string }>() => ({
  code: Type.Unsafe<Mistake['code']>({ type: 'string' }),
  fault: Type.Unsafe<Mistake['fault']>({
    description: 'What went wrong; it says more than the code.',
    type: 'string',
  }),
  parameters: Type.Record(Type.String(), Type.Unknown(), {
    description: 'What the sentence is filled with.',
  }),
  sentence: Type.String({ description: 'Complete; it names the port.' }),
});

type ToldEvent = Extract<SwitchEvent, { readonly sentence: string }>;

const told = <const Name extends ToldEvent['type']>(type: Name) =>
  ofPort(type, mistake<Extract<SwitchEvent, { type: Name }>>());

const aboutRequest = {
  request: Type.Optional(
    Type.Unsafe<string | number>({
      description: 'As the specification calls it, or its number.',
      type: ['string', 'number'],
    }),
  ),
  queue: Type.Optional(Type.Integer({ minimum: 0 })),
};

const queue = { queue: Type.Integer({ minimum: 0 }) };
const mac = { mac: Type.String() };
/** 64 bits have no number in JSON. */
const hexadecimal = Type.Unsafe<bigint>({ type: 'string', pattern: '^0x[0-9a-f]+$' });

const link = Type.Union([
  Type.Object({
    port: Type.String(),
    direction: Type.Optional(
      Type.Unsafe<'fromGuest' | 'toGuest'>({ type: 'string', enum: ['fromGuest', 'toGuest'] }),
    ),
  }),
  Type.Object({ from: Type.String(), to: Type.String() }),
  Type.Object({
    between: Type.Unsafe<[string, string]>({
      ...{ type: 'array', items: { type: 'string' }, minItems: 2, maxItems: 2 },
    }),
  }),
]);

type EndOf<Kind extends CloseReason['kind']> = Extract<CloseReason, { kind: Kind }>;

const end = <const Kind extends CloseReason['kind'], Fields extends TProperties>(
  kind: Kind,
  fields: Fields,
) => Type.Object({ kind: Type.Literal(kind), ...fields });

const failed = { ...aboutRequest, cause: Type.Unknown() };

const reason = Type.Union([
  end('frontend-left', {}),
  end('protocol-error', { ...mistake<EndOf<'protocol-error'>>(), ...aboutRequest }),
  end('send-failed', { ...mistake<EndOf<'send-failed'>>(), ...failed }),
  end('backend-error', { ...mistake<EndOf<'backend-error'>>(), ...failed }),
  end('closed-by-owner', {}),
]);

const worker = Type.Object({
  number: Type.Integer({ minimum: 0 }),
  cpu: Type.Optional(Type.Integer({ minimum: 0 })),
  transmitqs: Type.Integer({ minimum: 0 }),
});

const sides = Type.Array(Type.Array(Type.String()));

const lost = {
  count: Type.Integer({ minimum: 0 }),
  port: Type.Optional(Type.String()),
  of: Type.Optional(
    Type.Unsafe<SwitchEvent['type']>({
      description: 'The type of those that came faster than they are told.',
      type: 'string',
    }),
  ),
};

export const switchEvent = Type.Union([
  ofPort('listening', { path: Type.String() }),
  told('waiting'),
  ofPort('frontend-connected', { pid: Type.Integer() }),
  told('frontend-refused'),
  ofPort('frontend-left', { reason }),
  ofPort('request-refused', {
    ...mistake<Extract<SwitchEvent, { type: 'request-refused' }>>(),
    ...aboutRequest,
  }),
  told('accept-failed'),
  told('memory-lost'),
  told('source-spoofed'),
  ofPort('features-agreed', {
    features: hexadecimal,
    names: Type.Array(Type.String()),
    netHeaderBytes: Type.Integer(),
  }),
  ofPort('memory', { regions: Type.Integer(), bytes: hexadecimal }),
  ofPort('logging', { enabled: Type.Boolean() }),
  ofPort('mtu', { bytes: Type.Integer() }),
  ofPort('ring-started', { ...queue, size: Type.Integer() }),
  ofPort('ring-stopped', { ...queue, base: Type.Integer() }),
  ofPort('ring-broken', {
    ...queue,
    fault: Type.Unsafe<BreakFault>({ description: 'Why.', type: 'string' }),
    reason: Type.String({ description: 'The fault as a sentence.' }),
  }),
  ofPort('ring-enabled', queue),
  ofPort('ring-disabled', queue),
  ofPort('mac-learned', mac),
  ofPort('mac-moved', { fromPort: Type.String(), ...mac }),
  ofPort('mac-aged', mac),
  ofPort('port-removed', {}),
  event('settings-applied', { changes: Type.Array(change) }),
  event('worker-added', { worker }),
  event('link-impaired', { link, impairment: Type.Unsafe<Impairment>({ type: 'object' }) }),
  event('link-mended', { link }),
  event('partitioned', { sides }),
  event('healed', {}),
  event('events-lost', lost),
]);
