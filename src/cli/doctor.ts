/**
 * `tsvswitch doctor`: asks a running switch how its ports are, looks at their sockets, and says of each
 * port why it carries nothing and what mends it (control/diagnosis.ts).
 *
 * Ends with status 0 if all the ports asked about carry frames, and with 1 otherwise.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../control/client.ts';
import { defaultControlPath } from '../control/default-path.ts';
import { type Diagnosis, diagnose } from '../control/diagnosis.ts';
import type { PortStatus, SwitchStatus } from '../control/protocol.ts';
import { readSocketFile } from '../control/socket-file.ts';
import { TsvswitchError } from '../errors.ts';
import { exitFailure, newCommand } from './command.ts';

interface Options {
  readonly control: string;
  readonly json: boolean;
}

/** Between two looks: a driver gives receive buffers back within milliseconds. */
const pauseMs = 250;

export async function run(args: readonly string[]): Promise<void> {
  const command = newCommand('tsvswitch doctor')
    .description('Says why a port of a running switch carries nothing, and what mends it.')
    .argument('[port]', 'look at this one only')
    .option('--control <path>', 'control socket of the switch', defaultControlPath())
    .option('--json', 'for programs', false)
    .parse(args, { from: 'user' });
  const options = command.opts<Options>();
  const [before, now] = await lookTwice(options.control);
  const sockets = new Map(
    now.ports.flatMap(({ path }) => {
      const file = readSocketFile(path);
      return file === undefined ? [] : [[path, file] as const];
    }),
  );
  const all = diagnose({ before, now, sockets });
  const asked = select(all, command.args[0], options.control);
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ports: asked }, undefined, 2)}\n`
      : asked.map((diagnosis) => describe(diagnosis, now)).join(''),
  );
  if (!asked.every(({ carries }) => carries)) process.exitCode = exitFailure;
}

async function lookTwice(path: string): Promise<[SwitchStatus, SwitchStatus]> {
  await using client = await ControlClient.connect(path);
  const before = await client.status();
  await sleep(pauseMs);
  return [before, await client.status()];
}

function select(
  all: readonly Diagnosis[],
  port: string | undefined,
  control: string,
): readonly Diagnosis[] {
  if (all.length === 0) {
    throw new TsvswitchError(
      'NO_SUCH_PORT',
      `the switch at ${control} has no port; start it with --socket, or add one with ` +
        `curl --unix-socket ${control} -d '{"path": "..."}' http://localhost/v1/ports`,
    );
  }
  const asked = all.filter((diagnosis) => port === undefined || diagnosis.port === port);
  if (asked.length > 0) return asked;
  const names = all.map((diagnosis) => diagnosis.port).join(', ');
  throw new TsvswitchError('NO_SUCH_PORT', `there is no port ${port}; there are ${names}`);
}

function describe({ port, carries, findings }: Diagnosis, { ports }: SwitchStatus): string {
  const { counters } = ports.find(({ name }) => name === port) as PortStatus;
  const { fromGuest, toGuest } = counters;
  const fine = `port ${port}: carries frames, ${fromGuest.frames} from its guest and ${toGuest.frames} to it so far`;
  const lines = [...(carries ? [fine] : []), ...findings.map(({ sentence }) => sentence)];
  return lines.map((line) => `${line}\n`).join('');
}
