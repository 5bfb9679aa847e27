/**
 * What the public types promise to those who write against them. Nothing here runs: the compiler
 * checks it in test/tidy.test.ts, `@ts-expect-error` included, which must have an error to expect.
 */

import { expectTypeOf, test } from 'vitest';
import {
  type ErrorCode,
  type EventsLost,
  type errorCodes,
  type HostPort,
  type HostPortOptions,
  type HostWaitOptions,
  type PortWaitOptions,
  type ProcessPort,
  Switch,
  type SwitchEvent,
  type SwitchPort,
  TsvswitchError,
  type VhostUserPort,
} from '../../src/index.ts';
import type { Lab, LabStatus } from '../../src/lab/lab.ts';
import type { FrameMatcher, ParsedFrame, TestGuest } from '../../src/testing/index.ts';
import type { TestNetwork } from '../../src/testing/node-test.ts';
import { test as networkTest } from '../../src/testing/vitest.ts';

/** Compiled and never called. */
const compiled = (_body: (vswitch: Switch, guest: TestGuest) => unknown) => {};

test('addPort returns the kind of port that was asked for', () => {
  compiled((vswitch) => {
    expectTypeOf(vswitch.addPort({ path: 'a.sock' })).toEqualTypeOf<VhostUserPort>();
    expectTypeOf(vswitch.addPort({ connect: 'a.sock' })).toEqualTypeOf<VhostUserPort>();
    expectTypeOf(vswitch.addPort({ process: 'here' })).toEqualTypeOf<ProcessPort>();
    // @ts-expect-error: a port needs a socket or a name
    vswitch.addPort({});
    // @ts-expect-error: it listens or connects, not both
    vswitch.addPort({ path: 'a.sock', connect: 'b.sock' });
    // @ts-expect-error: a misspelt option
    vswitch.addPort({ process: 'here', bridg: 'left' });
  });
});

test('a port of this process has its older names, too', () => {
  compiled((vswitch) => {
    expectTypeOf<HostPort>().toEqualTypeOf<ProcessPort>();
    expectTypeOf<HostWaitOptions>().toEqualTypeOf<PortWaitOptions>();
    const options: HostPortOptions = { host: 'here', bridge: 'left' };
    expectTypeOf(vswitch.addPort(options)).toEqualTypeOf<ProcessPort>();
  });
});

test('kind tells ports apart', () => {
  compiled((vswitch) => {
    const port = vswitch.port('a');
    expectTypeOf(port).toEqualTypeOf<SwitchPort | undefined>();
    if (port?.kind === 'host') expectTypeOf(port).toEqualTypeOf<ProcessPort>();
    if (port?.kind === 'vhost-user') expectTypeOf(port.path).toEqualTypeOf<string>();
  });
});

test('every event is heard under its own type, with its own fields', () => {
  compiled((vswitch) => {
    vswitch.on('mac-learned', ({ port, mac }) => {
      expectTypeOf([port, mac]).toEqualTypeOf<string[]>();
    });
    vswitch.on('event', (event) => expectTypeOf(event).toEqualTypeOf<SwitchEvent>());
    vswitch.on('closed', (...nothing) => expectTypeOf(nothing).toEqualTypeOf<[]>());
    expectTypeOf(vswitch.events()).toEqualTypeOf<AsyncIterableIterator<SwitchEvent | EventsLost>>();
  });
});

test('options have the values they may have, and no others', () => {
  compiled(() => {
    Switch.open({ clock: 'manual', seed: 1 });
    // @ts-expect-error: there is no such clock
    Switch.open({ clock: 'sundial' });
    // @ts-expect-error: a number, not a text
    Switch.open({ workers: '2' });
  });
  compiled((vswitch) => {
    vswitch.impair({ between: ['a', 'b'] }, { loss: 0.1, rate: { bitsPerSecond: 1e6 } });
    vswitch.partition(['a'], ['b', 'c']);
    // @ts-expect-error: a misspelt impairment
    vswitch.impair({ port: 'a' }, { los: 0.1 });
    // @ts-expect-error: a worker has one CPU
    vswitch.addWorker({ cpus: [1] });
    // @ts-expect-error: a link has two ends
    vswitch.impair({ between: ['a'] }, {});
  });
});

test('errors have a code out of a list', () => {
  expectTypeOf<TsvswitchError['code']>().toEqualTypeOf<ErrorCode>();
  expectTypeOf<keyof typeof errorCodes>().toEqualTypeOf<ErrorCode>();
  expectTypeOf(TsvswitchError).toBeConstructibleWith('BAD_OPTION', 'a sentence');
});

test('what guests expect is shaped like what was parsed', () => {
  expectTypeOf<ParsedFrame>().toExtend<{ readonly payload: Uint8Array }>();
  expectTypeOf({ arp: { targetIp: '10.0.0.2' } }).toExtend<FrameMatcher>();
  compiled((_, guest) => {
    expectTypeOf(guest.expect({ udp: {} })).resolves.toEqualTypeOf<ParsedFrame>();
    expectTypeOf(guest.receive()).resolves.toEqualTypeOf<Uint8Array>();
    // @ts-expect-error: ARP has no ports
    guest.expect({ arp: { sourcePort: 1 } });
    // @ts-expect-error: a field's own type
    guest.expect({ udp: { sourcePort: '53' } });
  });
});

test('everything that is opened can be bound with await using', () => {
  expectTypeOf<Switch>().toExtend<AsyncDisposable>();
  expectTypeOf<TestGuest>().toExtend<AsyncDisposable>();
  expectTypeOf<TestNetwork>().toExtend<AsyncDisposable>();
  expectTypeOf<Lab>().toExtend<AsyncDisposable>();
});

networkTest('a test is given what it asks for by name', ({ vswitch, guest, lab }) => {
  expectTypeOf(vswitch).toEqualTypeOf<Switch>();
  expectTypeOf(guest).returns.resolves.toEqualTypeOf<TestGuest>();
  expectTypeOf(lab).returns.resolves.toEqualTypeOf<Lab>();
});

test('the state of a machine says which fields are there', () => {
  type Machine = LabStatus['machines'][number];
  expectTypeOf<Extract<Machine, { state: 'running' }>['uptimeMs']>().toEqualTypeOf<number>();
  expectTypeOf<Extract<Machine, { state: 'crashed' }>['log']>().toEqualTypeOf<string>();
});
