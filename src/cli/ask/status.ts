/** `tsvswitch status`: the switch as a tree of bridges and ports, and at its end what is wrong. */

import type { Command } from 'commander';
import { toJson } from '../../control/json.ts';
import type { PortStatus, SwitchStatus } from '../../control/protocol.ts';
import { printable } from '../../model/wording.ts';
import { asking, type Everywhere } from './asking.ts';
import { tableText } from './table.ts';
import { stateOf, stateText } from './views.ts';

const secondsAMinute = 60;
const secondsAnHour = 3600;
const secondsADay = 86_400;

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('Shows a running switch: its bridges, their ports, and what is wrong.')
    .action((_: object, command: Command) =>
      asking(command, async (client) => {
        const status = await client.status();
        const { json } = command.optsWithGlobals<Everywhere>();
        process.stdout.write(json ? `${toJson(status, 2)}\n` : statusText(status));
      }),
    );
}

function statusText({ version, pid, uptimeSeconds, workers, ports }: SwitchStatus): string {
  const count = workers.length === 1 ? '1 worker' : `${workers.length} workers`;
  const bridges = [...new Set(ports.map(({ bridge }) => bridge))].sort();
  return [
    `tsvswitch ${version}, pid ${pid}, up ${duration(uptimeSeconds)}, ${count}\n`,
    ...bridges.map((bridge) => {
      const these = ports.filter((port) => port.bridge === bridge);
      return `bridge ${printable(bridge)}\n${portRows(these)}`;
    }),
    ...ports.flatMap(warningOf),
  ].join('');
}

function portRows(ports: readonly PortStatus[]): string {
  const rows = tableText<PortStatus>(
    [
      { head: '', of: ({ name }) => name },
      { head: '', of: stateText },
      {
        head: '',
        of: (port) => {
          const frontend = port.kind === 'vhost-user' ? port.frontend : undefined;
          return frontend === undefined ? '' : `pid ${frontend.pid}`;
        },
      },
      { head: '', of: (port) => (port.kind === 'vhost-user' ? port.path : '') },
    ],
    ports,
    { heads: false },
  );
  return rows.replaceAll(/^/gm, '  ').trimEnd().concat('\n');
}

/** What of a port nobody wanted so; the doctor says more. */
function warningOf(port: PortStatus): string[] {
  if (port.kind !== 'vhost-user') return [];
  const state = stateOf(port);
  const broken = port.frontend?.rings.find((ring) => ring.state === 'broken');
  const why =
    port.waiting ??
    (broken?.state === 'broken'
      ? `queue ${broken.queue} is broken: ${broken.reason}`
      : undefined) ??
    (state === 'stalled' ? 'the guest offers no receive buffers' : undefined) ??
    (port.frontend === undefined ? port.lastEnd?.sentence : undefined);
  if (why === undefined) return [];
  const prefix = `port ${port.name}: `;
  const sentence = why.startsWith(prefix) ? why : `${prefix}${why}`;
  return [`${printable(sentence)} (tsvswitch doctor ${printable(port.name)})\n`];
}

/** Such as `3d 4h`; the two largest units. */
function duration(all: number): string {
  const parts = [
    [Math.floor(all / secondsADay), 'd'],
    [Math.floor((all % secondsADay) / secondsAnHour), 'h'],
    [Math.floor((all % secondsAnHour) / secondsAMinute), 'min'],
    [all % secondsAMinute, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first === -1 ? -1 : first)
    .slice(0, 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}
