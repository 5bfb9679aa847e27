/**
 * The diagnosis as a function: what each state of a port leads to, and what it is not mistaken for.
 */

import { describe, expect, test } from 'vitest';
import { ailments } from '../../../src/control/doctor/ailments.ts';
import { diagnose, type Facts, type SocketFile } from '../../../src/control/doctor/diagnosis.ts';
import type {
  MachinePortStatus,
  PortStatus,
  SessionHistory,
  SwitchStatus,
} from '../../../src/control/protocol.ts';
import type { FrontendStatus, RingStatus } from '../../../src/index.ts';

const now = '2026-11-22T12:00:00.000Z';
const earlier = '2026-11-22T11:59:00.000Z';

const direction = { frames: 0, bytes: 0, notifications: 0 };

const impaired = { held: 0, duplicated: 0, reordered: 0, corrupted: 0 };

const waitingPort: MachinePortStatus = {
  name: 'web1',
  kind: 'vhost-user',
  bridge: 'default',
  path: '/run/vsw/web1.sock',
  listener: 'switch',
  counters: { fromGuest: direction, toGuest: direction, floodedFrames: 0, drops: {}, impaired },
  macs: [],
};

const receiveq: RingStatus = { queue: 0, enabled: true, base: 7, state: 'started', offered: 256 };
const transmitq: RingStatus = { queue: 1, enabled: true, base: 9, state: 'started', offered: 0 };
const frontend: FrontendStatus = {
  pid: 42,
  features: ['VIRTIO_F_VERSION_1'],
  memory: { regions: 1, bytes: 1 << 30, hugePageBytes: 1 << 21 },
  rings: [receiveq, transmitq],
};
const session: SessionHistory = {
  since: now,
  framesFromGuest: 3,
  framesToGuest: 4,
  drops: { bufferTooSmall: 0 },
  macsLost: [],
};
const runningPort: MachinePortStatus = { ...waitingPort, frontend, session };
const peer: MachinePortStatus = { ...runningPort, name: 'peer', path: '/run/vsw/peer.sock' };

function statusOf(...ports: PortStatus[]): SwitchStatus {
  return { version: '0.1.0', pid: 1, uptimeSeconds: 60, workers: [], ports };
}

/** What is found at `port`, beside a healthy one. */
function found(port: PortStatus, facts: Partial<Facts> = {}) {
  const status = statusOf(port, peer);
  const all = diagnose({ before: status, now: status, sockets: new Map(), ...facts });
  return all.find((diagnosis) => diagnosis.port === port.name)!;
}

function codes(port: PortStatus, facts?: Partial<Facts>): string[] {
  return found(port, facts).findings.map(({ code }) => code);
}

function withRings(...rings: RingStatus[]): MachinePortStatus {
  return { ...runningPort, frontend: { ...frontend, rings } };
}

test('a port that moves frames has nothing, and carries', () => {
  expect(found(runningPort)).toEqual({ port: 'web1', carries: true, findings: [] });
});

test('a port of the process itself carries what the process makes of it', () => {
  const { counters } = waitingPort;
  const host = { name: 'host', kind: 'host', bridge: 'default', counters, macs: [] } as const;
  expect(found(host)).toEqual({ port: 'host', carries: true, findings: [] });
  const status = statusOf(host, runningPort);
  expect(codes(runningPort, { before: status, now: status })).toEqual([]);
});

test('a port that is down carries nothing, and is let up by its name', () => {
  const { carries, findings } = found({ ...runningPort, down: true });
  expect(carries).toBe(false);
  expect(findings).toEqual([
    {
      code: 'port-down',
      effect: 'stops',
      sentence:
        'port web1: it is down, as its settings say; let frames through again with `tsvswitch ' +
        'port up web1`',
    },
  ]);
});

test('a switch without ports has no diagnoses', () => {
  expect(diagnose({ before: statusOf(), now: statusOf(), sockets: new Map() })).toEqual([]);
});

describe('rings that stand still', () => {
  const ring = { enabled: true, base: 0, state: 'started', offered: 0 } as const;
  const pair: RingStatus[] = [
    { ...ring, queue: 0, outOfStep: true },
    { ...ring, queue: 1, offered: 1 },
  ];

  test('a packed ring whose driver counts laps the other way says so', () => {
    const port = withRings(...pair);
    const status = statusOf(port);
    const { findings } = found(port, { before: status, now: status });
    expect(findings.map(({ code }) => code)).toContain('ring-out-of-step');
    expect(findings[0]!.sentence).toContain(
      "queue 0, a packed ring, stands still: by its base its wrap counter is 0, and its driver's is 1",
    );
    const moving = statusOf(withRings({ ...ring, queue: 0, base: 5 }, pair[1]!));
    expect(codes(port, { before: moving, now: status })).not.toContain('ring-out-of-step');
  });

  test('a control queue is no receiveq, and a broken one is named', () => {
    const control = { queue: 16, control: true, enabled: true, base: 3 } as const;
    const whole = withRings(...runningPort.frontend!.rings, {
      ...control,
      state: 'started',
      offered: 0,
    });
    expect(codes(whole)).toEqual([]);
    const broken = withRings(...runningPort.frontend!.rings, {
      ...control,
      state: 'broken',
      fault: 'chain-too-long',
      reason: 'R',
    });
    expect(found(broken).findings[0]!.sentence).toContain(
      'queue 16, the control queue, is broken: R',
    );
  });
});

describe('nobody is connected', () => {
  test('a port that listens says which option of QEMU and libvirt leads to it', () => {
    const { findings, carries } = found(waitingPort);
    expect(carries).toBe(false);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ code: 'not-connected', effect: 'stops' });
    expect(findings[0]!.sentence).toMatch(/^port web1: no machine has connected; /);
    expect(findings[0]!.sentence).toContain('-chardev socket,id=port,path=/run/vsw/web1.sock');
    expect(findings[0]!.sentence).toContain("mode='client'");
  });

  test('a machine that left is not one that never came', () => {
    const { findings } = found({ ...waitingPort, lastEnd: { at: earlier, kind: 'frontend-left' } });
    expect(findings[0]!.code).toBe('not-connected');
    expect(findings[0]!.sentence).toContain(`since ${earlier}`);
  });

  test('a port that connects says who has to listen, and why it does not connect', () => {
    const waiting = 'port web1: waiting for a frontend to listen on /run/vsw/web1.sock (refused)';
    const { findings } = found({ ...waitingPort, listener: 'machine', waiting });
    expect(findings.map(({ code }) => code)).toEqual(['nobody-listens']);
    expect(findings[0]!.sentence).toBe(
      `${waiting}; start QEMU with -chardev socket,id=port,path=/run/vsw/web1.sock,server=on,wait=off`,
    );
    expect(codes({ ...waitingPort, listener: 'machine' })).toEqual(['nobody-listens']);
  });

  test('a socket file that was removed explains everything', () => {
    expect(codes({ ...waitingPort, socketLost: true })).toEqual(['socket-lost']);
  });
});

describe('who may connect', () => {
  const file: SocketFile = { mode: 0o660, user: 'root', group: 'root', keptOut: [] };
  const withFile = (changes: Partial<SocketFile>) => ({
    sockets: new Map([[waitingPort.name, { ...file, ...changes }]]),
  });

  test('a socket that lets libvirt in is not mentioned', () => {
    expect(codes(waitingPort, withFile({}))).toEqual(['not-connected']);
  });

  test('a user of libvirt that is kept out is named, with the option that lets it in', () => {
    const { findings } = found(waitingPort, withFile({ keptOut: ['libvirt-qemu'] }));
    expect(findings[1]).toMatchObject({ code: 'socket-owner', effect: 'stops' });
    expect(findings[1]!.sentence).toContain('only user root and group root may connect');
    expect(findings[1]!.sentence).toMatch(/; start the switch with --socket-group libvirt-qemu$/);
  });

  test('a group without rights is not said to have some', () => {
    const { findings } = found(waitingPort, withFile({ mode: 0o600, keptOut: ['qemu'] }));
    expect(findings[1]!.sentence).toContain('only user root may connect');
  });

  test('a folder that keeps out whom the socket lets in is named', () => {
    const { findings } = found(waitingPort, withFile({ closedFolder: '/run/vsw' }));
    expect(findings[1]!.code).toBe('socket-closed');
    expect(findings[1]!.sentence).toContain('`chmod o+x /run/vsw`');
  });

  test('nobody asks once a machine is connected', () => {
    expect(codes(runningPort, withFile({ keptOut: ['qemu'], closedFolder: '/run' }))).toEqual([]);
  });
});

describe('the last session was ended by the switch', () => {
  const refused = (code: string): MachinePortStatus => ({
    ...waitingPort,
    lastEnd: {
      at: earlier,
      kind: 'protocol-error',
      code,
      sentence: `port web1: SOME_REQUEST: ${code}`,
    },
  });

  test.each(['MEMORY_NOT_SHARED', 'MEMORY_UNMAPPABLE'])('%s: share=on mends it', (code) => {
    const { findings } = found(refused(code));
    expect(findings.map((finding) => finding.code)).toEqual(['memory-not-shared']);
    expect(findings[0]!.sentence).toContain('share=on');
    expect(findings[0]!.sentence).toContain("<access mode='shared'/>");
  });

  test('a feature that is not served is named as the switch named it', () => {
    const { findings } = found(refused('MISSING_FEATURE'));
    expect(findings.map(({ code }) => code)).toEqual(['features-refused']);
    expect(findings[0]!.sentence).toMatch(/^port web1: SOME_REQUEST: MISSING_FEATURE; /);
  });

  test.each(['BAD_SIZE', 'RING_UNMAPPED'])('%s: what the switch said is said again', (code) => {
    const { findings } = found(refused(code));
    expect(findings.map((finding) => finding.code)).toEqual(['session-ended']);
    expect(findings[0]!.sentence).toContain(`SOME_REQUEST: ${code} (${earlier})`);
  });

  test('memory that was cut off is told apart', () => {
    const sentence = "port web1: the file behind the guest's memory was truncated";
    const lastEnd = { at: earlier, kind: 'memory-lost', sentence } as const;
    expect(codes({ ...waitingPort, lastEnd })).toEqual(['memory-lost']);
  });

  test('a frontend that is refused again and again is not one that boots', () => {
    const bare = { ...frontend, rings: [] };
    const { lastEnd } = refused('MEMORY_UNMAPPABLE');
    const connected = { ...runningPort, frontend: bare, lastEnd: lastEnd! };
    const soon = { ...session, since: '2026-11-22T11:59:01.000Z' };
    expect(codes({ ...connected, session: soon })).toEqual(['memory-not-shared']);
    expect(codes(connected)).toEqual(['driver-not-up']);
    expect(codes({ ...connected, frontend, session: soon })).toEqual([]);
  });
});

describe('a machine is connected', () => {
  test('without any ring, or without one of each direction, its driver is not up', () => {
    for (const rings of [[], [receiveq], [transmitq]]) {
      const { findings } = found(withRings(...rings));
      expect(findings.map(({ code }) => code)).toEqual(['driver-not-up']);
      expect(findings[0]!.sentence).toContain('virtio_net');
      expect(findings[0]!.sentence).toContain('-device virtio-net-pci');
    }
  });

  test('a broken ring is named with its reason', () => {
    const started = { queue: 1, enabled: true, base: 0 } as const;
    const fault = 'chain-too-long';
    const broken = { ...started, state: 'broken', fault, reason: 'a loop' } as const;
    const { findings } = found(withRings(receiveq, broken));
    expect(findings.map(({ code }) => code)).toEqual(['ring-broken']);
    expect(findings[0]!.sentence).toContain('queue 1, a transmitq, is broken: a loop');
  });

  test.each<[string, RingStatus, RingStatus]>([
    ['receiveq', { ...receiveq, enabled: false }, transmitq],
    ['transmitq', receiveq, { ...transmitq, enabled: false }],
  ])('a %s that is not enabled is named', (name, ...rings) => {
    const { findings } = found(withRings(...rings));
    expect(findings.map(({ code }) => code)).toEqual(['ring-disabled']);
    expect(findings[0]!.sentence).toContain(`a ${name}`);
  });

  test('queue pairs that the guest does not use are no fault', () => {
    const spare = { queue: 2, enabled: false, base: 0, state: 'started', offered: 0 } as const;
    expect(codes(withRings(receiveq, transmitq, spare, { ...spare, queue: 3 }))).toEqual([]);
  });

  describe('and offers no receive buffers', () => {
    const empty = withRings({ ...receiveq, offered: 0 }, transmitq);

    test('in both looks: its interface is down', () => {
      const { findings } = found(empty);
      expect(findings.map(({ code }) => code)).toEqual(['no-receive-buffers']);
      expect(findings[0]!.sentence).toContain('ip link set dev eth0 up');
    });

    test('in one look only, or others each time: it is busy', () => {
      const busy = withRings({ ...receiveq, offered: 0, base: 6 }, transmitq);
      for (const before of [runningPort, busy]) {
        expect(codes(empty, { before: statusOf(before, peer) })).toEqual([]);
      }
    });

    test('on one of two queues: the other one carries', () => {
      const second = { ...receiveq, queue: 2, offered: 0 };
      expect(codes(withRings(receiveq, transmitq, second))).toEqual([]);
    });
  });

  test('and has sent nothing: its interface has no address', () => {
    const silent = { ...runningPort, session: { ...session, framesFromGuest: 0 } };
    expect(codes(silent)).toEqual(['silent']);
  });

  test('alone: there is nobody to talk to', () => {
    for (const ports of [[runningPort], [runningPort, { ...peer, bridge: 'other' }]]) {
      const alone = statusOf(...ports);
      expect(codes(runningPort, { before: alone, now: alone })).toEqual(['no-peer']);
    }
  });

  test('and frames are longer than it takes: an MTU is too small', () => {
    const lossy = {
      ...runningPort,
      session: { ...session, drops: { bufferTooSmall: 2, overMtu: 3 } },
    };
    const { findings, carries } = found(lossy);
    expect(carries).toBe(false);
    expect(findings[0]).toMatchObject({ code: 'frame-too-long', effect: 'loses' });
    expect(findings[0]!.sentence).toContain('5 frames');
    expect(findings[0]!.sentence).toContain('MTU');
  });

  test('and sends from what its port is not bound to: those frames are counted', () => {
    const drops = { spoofedMac: 2, spoofedAddress: 3 };
    const { findings, carries } = found({ ...runningPort, session: { ...session, drops } });
    expect(carries).toBe(false);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ code: 'source-spoofed', effect: 'loses' });
    expect(findings[0]!.sentence).toMatch(
      /^port web1: 5 frames .* 2 for .* 3 for .*; give the guest/,
    );
    expect(findings[0]!.sentence).toContain('mac=... and address=...');
  });

  test('on ordinary pages: a note, and it carries', () => {
    const memory = { regions: 1, bytes: 1 << 30 };
    const { findings, carries } = found({ ...runningPort, frontend: { ...frontend, memory } });
    expect(carries).toBe(true);
    expect(findings[0]).toMatchObject({ code: 'no-huge-pages', effect: 'note' });
    expect(findings[0]!.sentence).toContain('mem-path=/dev/hugepages');
  });

  test('and another one wanted in: a note, and it carries', () => {
    const turnedAway = { at: now, sentence: 'port web1: refused process 7' };
    const { findings, carries } = found({ ...runningPort, session: { ...session, turnedAway } });
    expect(carries).toBe(true);
    expect(findings.map(({ code }) => code)).toEqual(['turned-away']);
  });
});

describe('one MAC address behind two ports', () => {
  const mac = '52:54:00:12:34:56';
  const loser = { ...runningPort, session: { ...session, macsLost: [{ mac, toPort: 'peer' }] } };

  test('is found at both, whichever of them was heard last', () => {
    const status = statusOf(loser, peer);
    const all = diagnose({ before: status, now: status, sockets: new Map() });
    expect(all.map(({ findings }) => findings.map(({ code }) => code))).toEqual([
      ['mac-elsewhere'],
      ['mac-elsewhere'],
    ]);
    expect(all[0]!.findings[0]!.sentence).toContain(`${mac} is also`);
    expect(all[0]!.findings[0]!.sentence).toContain('port peer');
    expect(all[1]!.findings[0]!.sentence).toContain('port web1');
  });

  test('is a migration if one of them has stopped its rings', () => {
    const source = { ...loser, frontend: { ...frontend, rings: [] } };
    expect(codes(source)).not.toContain('mac-elsewhere');
    const status = statusOf(source, peer);
    const all = diagnose({ before: status, now: status, sockets: new Map() });
    expect(all[1]!.findings).toEqual([]);
  });
});

test('every ailment has a remedy of one line', () => {
  for (const { remedy } of Object.values(ailments)) {
    expect(remedy('/run/vsw/web1.sock')).toMatch(/^\S[^\n]+[^\s.]$/);
  }
});
