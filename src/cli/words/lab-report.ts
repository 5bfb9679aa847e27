/** What a lab reports, as text for people: columns, units, and sentences. Pure. */

import type {
  IperfResult,
  LabStatus,
  LabSwitchStatus,
  Life,
  MachineStatus,
  PingMatrix,
} from '../../lab/report.ts';

export function statusText(status: LabStatus): string {
  const { machines } = status;
  if (!status.exists) {
    const names = machines.map(({ name }) => name).join(', ');
    return (
      `lab ${status.name}: nothing of it is there; \`tsvswitch lab up\` makes its machines ` +
      `(${names})`
    );
  }
  const crashes = [
    ...(status.switch.state === 'crashed'
      ? [`\nthe switch ended unasked; the end of its log:\n${status.switch.log}`]
      : []),
    ...machines.flatMap((machine) => (machine.state === 'crashed' ? [`\n${machine.log}`] : [])),
  ];
  const differing = machines.filter(({ differs }) => differs).map(({ name }) => name);
  return [
    `lab ${status.name}, switch ${lifeText(status.switch)}${controlText(status.switch)}`,
    table([
      ['MACHINE', 'STATE', 'ADDRESSES', 'MAC', 'SSH'],
      ...machines.map((machine) => [
        machine.name,
        lifeText(machine),
        machine.addresses.join(' '),
        machine.mac,
        sshText(machine),
      ]),
    ]),
    ...(differing.length === 0
      ? []
      : [
          `\n${differing.join(', ')}: not as the lab file has it; \`tsvswitch lab up\` changes ` +
            'that',
        ]),
    ...crashes,
  ].join('\n');
}

function lifeText(life: Life): string {
  switch (life.state) {
    case 'running':
      return `running for ${durationText(life.uptimeMs)} (process ${life.pid})`;
    case 'starting':
      return `starting (process ${life.pid})`;
    case 'stopped':
    case 'crashed':
      return life.state;
  }
}

/** What `tsvswitch doctor`, `capture` and `add-worker` find by themselves if it is the only one. */
function controlText({ state, control }: LabSwitchStatus): string {
  return state === 'running' ? `, control socket ${control}` : '';
}

function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function sshText({ sshPort, user }: MachineStatus): string {
  return sshPort === undefined ? '-' : `${user}@127.0.0.1 port ${sshPort}`;
}

export function pingText({ machines, pings }: PingMatrix): string {
  const cell = (from: string, to: string) => {
    const ping = pings.find((one) => one.from === from && one.to === to);
    if (ping === undefined) return '-';
    return ping.roundTripMs === undefined ? 'lost' : `${ping.roundTripMs.toFixed(2)} ms`;
  };
  return table([
    ['FROM \\ TO', ...machines],
    ...machines.map((from) => [from, ...machines.map((to) => cell(from, to))]),
  ]);
}

export function iperfText({ from, to, bytes, bitsPerSecond, seconds }: IperfResult): string {
  const rate =
    bitsPerSecond < 1e9
      ? `${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s`
      : `${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s`;
  return (
    `${from} to ${to}: ${rate}, ${(bytes / 1e6).toFixed(1)} MB arrived in ` +
    `${seconds.toFixed(1)} s`
  );
}

/** Columns as wide as their widest cell, two spaces apart. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
