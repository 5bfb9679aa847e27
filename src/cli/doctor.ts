/**
 * `tsvswitch doctor`: says of each port of a running switch why it carries nothing, and what mends
 * it.
 *
 * Ends with status 0 if all the ports asked about carry frames, and with 1 otherwise.
 */

import type { Command } from 'commander';
import type { Diagnosis } from '../control/doctor/diagnosis.ts';
import { examine } from '../control/doctor/examine.ts';
import { failure } from '../model/errors.ts';
import { exitFailure, newCommand } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly json: boolean;
}

export function define(): Command {
  return addWhich(
    newCommand('tsvswitch doctor')
      .description('Says why a port of a running switch carries nothing, and what mends it.')
      .argument('[port]', 'look at this one only')
      .option('--json', 'for programs', false),
  ).action(run);
}

async function run(port: string | undefined, { json, ...which }: Options): Promise<void> {
  await using client = await controlClient(which, 'tsvswitch doctor');
  const ports = select(await examine(client), port, client.path);
  process.stdout.write(
    json ? `${JSON.stringify({ ports }, undefined, 2)}\n` : ports.map(describe).join(''),
  );
  if (!ports.every(({ carries }) => carries)) process.exitCode = exitFailure;
}

function select(
  all: readonly Diagnosis[],
  port: string | undefined,
  control: string,
): readonly Diagnosis[] {
  if (all.length === 0) {
    throw failure('doctor-no-port', { control });
  }
  const asked = all.filter((diagnosis) => port === undefined || diagnosis.port === port);
  if (asked.length > 0) return asked;
  const names = all.map((diagnosis) => diagnosis.port).join(', ');
  throw failure('port-unknown-of', { port: port!, names });
}

function describe({ port, carries, findings }: Diagnosis): string {
  const lines = findings.map(({ sentence }) => `${sentence}\n`);
  return [...(carries ? [`port ${port}: carries frames\n`] : []), ...lines].join('');
}
