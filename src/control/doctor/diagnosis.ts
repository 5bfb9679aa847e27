/**
 * Why a port carries nothing: a pure function from what is known to what ails each port
 * (ailments.ts). cli/doctor.ts gathers the facts and prints what comes out.
 *
 *     nobody connected:  how the last session ended ─ the socket ─ who may use it
 *     connected:         driver ─ rings ─ buffers ─ frames ─ addresses ─ pages
 *
 * A port is looked at from the outside in, and what follows from one finding is not reported as
 * another. The switch is looked at twice, a moment apart, because one look cannot tell a ring that
 * happens to be empty from one that stays so.
 */

import type { RingStatus } from '../../index.ts';
import type { MachinePortStatus, PortStatus, SessionEnd, SwitchStatus } from '../protocol.ts';
import { type AilmentCode, ailments, type Effect } from './ailments.ts';

/** What was found out about a port. */
export interface Diagnosis {
  readonly port: string;
  /** Whether frames come and go. */
  readonly carries: boolean;
  readonly findings: readonly Finding[];
}

/** Something that ails a port, or is worth knowing. */
export interface Finding {
  readonly code: AilmentCode;
  readonly effect: Effect;
  /** Names the port, says what is wrong and what mends it. */
  readonly sentence: string;
}

export interface Facts {
  /** The switch twice, a moment apart. */
  readonly before: SwitchStatus;
  readonly now: SwitchStatus;
  /** The files of the ports' sockets by the ports' names, as far as they can be seen. */
  readonly sockets: ReadonlyMap<string, SocketFile>;
}

/** Who may connect to a socket. */
export interface SocketFile {
  readonly mode: number;
  readonly user: string;
  readonly group: string;
  /** A folder on the way that keeps out those whom the socket lets in. */
  readonly closedFolder?: string;
  /** Users that libvirt runs QEMU as on this host, and that may not connect. */
  readonly keptOut: readonly string[];
}

/** QEMU's reconnect= counts in seconds; whoever restarts a machine by hand takes longer. */
const comeBackMs = 2500;

/** A reason; what the switch has said itself names the port already. */
type Why = string | { readonly said: string };

/** What is wrong, why, and what the remedy is about. */
type Found = readonly [code: AilmentCode, why: Why, subject: string];

const taken = ['port-down', 'it is down, as its settings say'] as const;

export function diagnose(facts: Facts): Diagnosis[] {
  return facts.now.ports.map((port) => {
    const found = [
      ...(port.down ? [[...taken, port.name] as const] : []),
      ...(port.kind === 'vhost-user' ? findingsOf(port, facts) : []),
    ];
    const findings = found.map((one) => describe(port, one));
    const carries = findings.every(({ effect }) => effect === 'note');
    return { port: port.name, carries, findings };
  });
}

function describe({ name }: PortStatus, [code, why, subject]: Found): Finding {
  const { effect, remedy } = ailments[code];
  const named = typeof why === 'string' ? `port ${name}: ${why}` : why.said;
  const sentence = `${named}; ${remedy(subject)}`;
  return { code, effect, sentence };
}

function findingsOf(port: MachinePortStatus, facts: Facts): Found[] {
  const { lastEnd } = port;
  if (lastEnd !== undefined && (port.frontend === undefined || comesBack(port, lastEnd))) {
    const ended = endFinding(lastEnd);
    if (ended !== undefined) return [ended];
  }
  if (port.frontend === undefined) return socketFindings(port, facts.sockets.get(port.name));
  const blocked = ringFindings(port.frontend.rings, ringsBefore(port, facts));
  if (blocked.length > 0) return blocked;
  return [
    ...frameFindings(port, facts.now),
    ...addressFindings(port, facts.now),
    ...pageFindings(port.frontend.memory),
  ];
}

/** The frontend is one that was just refused and tries again, and again has no ring yet. */
function comesBack({ frontend, session }: MachinePortStatus, { at }: SessionEnd): boolean {
  if (frontend === undefined || session === undefined || frontend.rings.length > 0) return false;
  return Date.parse(session.since) - Date.parse(at) < comeBackMs;
}

/** Why the session ended; undefined if the machine just left. */
function endFinding({ kind, code, sentence, at }: SessionEnd): Found | undefined {
  switch (kind) {
    case 'frontend-left':
    case 'closed-by-owner':
      return undefined;
    case 'memory-lost':
      return ['memory-lost', said(sentence, kind), ''];
    case 'protocol-error':
      if (code === 'MEMORY_NOT_SHARED' || code === 'MEMORY_UNMAPPABLE') {
        return ['memory-not-shared', 'the guest keeps its memory to itself', ''];
      }
      if (code === 'MISSING_FEATURE') return ['features-refused', said(sentence, kind), ''];
  }
  return ['session-ended', said(sentence && `${sentence} (${at})`, `${kind} (${at})`), ''];
}

function said(sentence: string | undefined, otherwise: string): Why {
  return sentence === undefined ? otherwise : { said: sentence };
}

/** Nobody is connected, and nobody was refused. */
function socketFindings(port: MachinePortStatus, file: SocketFile | undefined): Found[] {
  const { path, waiting, lastEnd } = port;
  if (port.listener === 'machine') {
    return [['nobody-listens', said(waiting, `no machine listens on ${path}`), path]];
  }
  if (port.socketLost) {
    const why = `its file ${path} was removed or replaced, so that no machine finds it`;
    return [['socket-lost', why, path]];
  }
  const past =
    lastEnd === undefined ? 'no machine has connected' : `no machine since ${lastEnd.at}`;
  const found: Found[] = [['not-connected', said(waiting, past), path]];
  if (file === undefined) return found;
  const { closedFolder, keptOut } = file;
  const octal = file.mode.toString(8);
  if (closedFolder !== undefined) {
    const why =
      `${path} (mode ${octal}, group ${file.group}) lets in more than ` + `folder ${closedFolder}`;
    found.push(['socket-closed', why, closedFolder]);
  }
  if (keptOut.length > 0) {
    const group = (file.mode & 0o020) === 0 ? '' : ` and group ${file.group}`;
    const admitted = `user ${file.user}${group}`;
    const why =
      `only ${admitted} may connect to ${path} (mode ${octal}), ` +
      `and libvirt runs QEMU as ${keptOut.join(' or ')}`;
    found.push(['socket-owner', why, keptOut[0]!]);
  }
  return found;
}

/** What keeps the rings from moving anything. */
function ringFindings(all: readonly RingStatus[], before: readonly RingStatus[]): Found[] {
  const found: Found[] = [];
  const rings = all.filter(({ control }) => control !== true);
  for (const ring of all) {
    if (ring.control && ring.state === 'broken') {
      const why = `queue ${ring.queue}, the control queue, is broken: ${ring.reason}`;
      found.push(['ring-broken', why, '']);
    }
    if (ring.state !== 'started' || ring.outOfStep === undefined) continue;
    if (before.find(({ queue }) => queue === ring.queue)?.base !== ring.base) continue;
    const wraps = (ring.base & 0x8000) === 0 ? [0, 1] : [1, 0];
    const why =
      `queue ${ring.queue}, a packed ring, stands still: by its base its wrap counter is ` +
      `${wraps[0]}, and its driver's is ${wraps[1]}`;
    found.push(['ring-out-of-step', why, '']);
  }
  for (const direction of ['receiveq', 'transmitq'] as const) {
    const these = rings.filter((ring) => directionOf(ring) === direction);
    if (these.length === 0) {
      return [['driver-not-up', `a machine is connected, but no driver runs a ${direction}`, '']];
    }
    for (const ring of these) {
      if (ring.state !== 'broken') continue;
      const why = `queue ${ring.queue}, a ${direction}, is broken: ${ring.reason}`;
      found.push(['ring-broken', why, '']);
    }
    if (!these.some(({ enabled }) => enabled)) {
      const why = `queue ${these[0]!.queue}, a ${direction}, is started, but not enabled`;
      found.push(['ring-disabled', why, '']);
    }
  }
  if (found.length > 0) return found;
  const receivers = rings.filter((ring) => directionOf(ring) === 'receiveq' && ring.enabled);
  if (!receivers.every((ring) => staysEmpty(ring, before))) return [];
  return [['no-receive-buffers', 'the guest offers no buffers to receive into', '']];
}

/** The rings are fine, and yet frames may be missing. */
function frameFindings({ session, bridge }: MachinePortStatus, { ports }: SwitchStatus): Found[] {
  const found: Found[] = [];
  if (ports.filter((port) => port.bridge === bridge).length === 1) {
    found.push(['no-peer', 'no other port is on its bridge', '']);
  }
  if (session?.framesFromGuest === 0) {
    found.push(['silent', 'the guest has sent nothing since its machine connected', '']);
  }
  const {
    bufferTooSmall = 0,
    overMtu = 0,
    spoofedMac = 0,
    spoofedAddress = 0,
  } = session?.drops ?? {};
  if (bufferTooSmall + overMtu > 0) {
    const why = `${bufferTooSmall + overMtu} frames were longer than the guest receives`;
    found.push(['frame-too-long', why, '']);
  }
  if (spoofedMac + spoofedAddress > 0) {
    const why =
      `${spoofedMac + spoofedAddress} frames were dropped for their source, ${spoofedMac} for a ` +
      `MAC address and ${spoofedAddress} for an IP address or protocol that the port is not ` +
      'bound to';
    found.push(['source-spoofed', why, '']);
  }
  return found;
}

function addressFindings(port: MachinePortStatus, { ports }: SwitchStatus): Found[] {
  const found: Found[] = [];
  const turnedAway = port.session?.turnedAway;
  if (turnedAway !== undefined) {
    const why = `another process was turned away at ${turnedAway.at}, since one is connected`;
    found.push(['turned-away', why, '']);
  }
  for (const other of ports) {
    if (other === port || other.kind !== 'vhost-user' || !runs(port) || !runs(other)) continue;
    // Whichever of the two was heard last has it now, and the other one lost it.
    const shared = [...lostTo(port, other), ...lostTo(other, port)];
    if (shared.length === 0) continue;
    const why = `${shared.join(', ')} is also the address of a machine behind port ${other.name}`;
    found.push(['mac-elsewhere', why, '']);
  }
  return found;
}

function pageFindings(memory: NonNullable<MachinePortStatus['frontend']>['memory']): Found[] {
  if (memory.regions === 0 || memory.hugePageBytes !== undefined) return [];
  return [['no-huge-pages', 'guest memory is on ordinary pages, which is slower', '']];
}

function directionOf({ queue }: RingStatus): 'receiveq' | 'transmitq' {
  return queue % 2 === 0 ? 'receiveq' : 'transmitq';
}

function ringsBefore({ name }: MachinePortStatus, { before }: Facts): readonly RingStatus[] {
  const port = before.ports.find((candidate) => candidate.name === name);
  return port?.kind === 'vhost-user' ? (port.frontend?.rings ?? []) : [];
}

/** Offers nothing, and has taken nothing since the first look, when it offered nothing either. */
function staysEmpty(ring: RingStatus, before: readonly RingStatus[]): boolean {
  const isEmpty = (one: RingStatus) => one.state === 'started' && one.offered === 0;
  const same = before.find(({ queue }) => queue === ring.queue);
  return isEmpty(ring) && same !== undefined && isEmpty(same) && same.base === ring.base;
}

/** During a migration the source's rings are stopped before the destination is heard. */
function runs({ frontend }: MachinePortStatus): boolean {
  return frontend?.rings.some(({ state, enabled }) => state === 'started' && enabled) ?? false;
}

function lostTo({ session }: MachinePortStatus, other: MachinePortStatus): string[] {
  const lost = session?.macsLost.filter(({ toPort }) => toPort === other.name) ?? [];
  return lost.map(({ mac }) => mac);
}
