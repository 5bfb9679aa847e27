/** qemu.ts: what each choice puts on QEMU's command line. */

import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import {
  type MachineOptions,
  qemuArguments,
  qemuProgram,
  type VhostUserCard,
} from '../../src/machine/qemu.ts';

const machine: MachineOptions = {
  name: 'vm1',
  cpus: 2,
  memoryMiB: 256,
  memory: { type: 'memfd' },
  accelerator: 'tcg',
  boot: { kernel: '/k/vmlinuz', initrd: '/k/initramfs', commandLine: 'console=ttyS0 quiet' },
  cards: [{ type: 'vhost-user', socket: '/run/port1', mac: '52:54:00:00:00:01' }],
  consoleSocket: '/run/vm1.console',
  consoleLog: '/run/vm1.log',
};

/** The values of an option, in the order given. */
function valuesOf(options: MachineOptions, option: string): string[] {
  const line = qemuArguments(options);
  return line.flatMap((word, index) => (line[index - 1] === option ? [word] : []));
}

describe('guest memory', () => {
  test('is shared and of the size asked for, on memfd', () => {
    expect(valuesOf(machine, '-object')).toEqual([
      'memory-backend-memfd,id=memory,size=256M,share=on',
    ]);
    expect(valuesOf(machine, '-m')).toEqual(['256M']);
  });

  test('on huge pages is shared and taken at once', () => {
    const onHugepages: MachineOptions = {
      ...machine,
      memory: { type: 'hugepages', folder: '/dev/hugepages' },
    };
    expect(valuesOf(onHugepages, '-object')).toEqual([
      'memory-backend-file,id=memory,size=256M,share=on,mem-path=/dev/hugepages,prealloc=on',
    ]);
  });
});

describe('a vhost-user card', () => {
  test('connects to the socket of its port', () => {
    expect(valuesOf(machine, '-chardev')).toContain('socket,id=port0,path=/run/port1');
    expect(valuesOf(machine, '-netdev')).toEqual(['vhost-user,id=net0,chardev=port0']);
  });

  test('has no MSI-X vectors under TCG, where QEMU 7.2 crashes with them', () => {
    expect(valuesOf(machine, '-device')).toEqual([
      'virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,romfile=,vectors=0',
    ]);
  });

  test('with several queue pairs says so to both of its halves', () => {
    const card = { ...machine.cards[0]!, queuePairs: 2 } as VhostUserCard;
    expect(valuesOf({ ...machine, cards: [card] }, '-netdev')).toEqual([
      'vhost-user,id=net0,chardev=port0,queues=2',
    ]);
    expect(valuesOf({ ...machine, cards: [card] }, '-device')).toEqual([
      'virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,romfile=,vectors=0,mq=on',
    ]);
  });

  test('passes further options on to the device', () => {
    const card = { ...machine.cards[0]!, deviceOptions: { packed: 'on', csum: 'off' } };
    expect(valuesOf({ ...machine, cards: [card] as VhostUserCard[] }, '-device')).toEqual([
      'virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,romfile=,vectors=0,packed=on,csum=off',
    ]);
  });

  test('keeps its vectors under KVM', () => {
    expect(valuesOf({ ...machine, accelerator: 'kvm' }, '-device')).toEqual([
      'virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,romfile=',
    ]);
  });
});

test('a datagram card names both sockets', () => {
  const card = {
    type: 'datagram',
    localSocket: '/run/a',
    remoteSocket: '/run/b',
    mac: '52:54:00:00:00:02',
  } as const;
  expect(valuesOf({ ...machine, cards: [card] }, '-netdev')).toEqual([
    'dgram,id=net0,local.type=unix,local.path=/run/a,remote.type=unix,remote.path=/run/b',
  ]);
});

test('a card behind NAT has ssh forwarded from the loopback alone', () => {
  const card = { type: 'user', sshPort: 2222, mac: '52:54:00:00:00:03' } as const;
  expect(valuesOf({ ...machine, cards: [card] }, '-netdev')).toEqual([
    'user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22',
  ]);
});

test('a card that is to find its switch again is told how', () => {
  const card = { ...machine.cards[0]!, reconnect: 'reconnect=1' } as VhostUserCard;
  expect(valuesOf({ ...machine, cards: [card] }, '-chardev')).toContain(
    'socket,id=port0,path=/run/port1,reconnect=1',
  );
});

test('without a kernel of its own a machine boots from its first drive', () => {
  const { boot: _, ...rest } = machine;
  const drives = [
    { path: '/d,1', format: 'qcow2' },
    { path: '/seed', format: 'raw', readOnly: true },
  ] as const;
  expect(qemuArguments({ ...rest, drives })).not.toContain('-kernel');
  expect(valuesOf({ ...rest, drives }, '-drive')).toEqual([
    'if=virtio,format=qcow2,file=/d,,1,discard=unmap',
    'if=virtio,format=raw,file=/seed,readonly=on',
  ]);
});

test('a monitor lets the guest start without anybody who listens', () => {
  expect(valuesOf({ ...machine, qmpSocket: '/run/qmp' }, '-qmp')).toEqual([
    'unix:/run/qmp,server=on,wait=off',
  ]);
});

test('several cards have names of their own', () => {
  const line = valuesOf({ ...machine, cards: [...machine.cards, ...machine.cards] }, '-netdev');
  expect(line).toEqual(['vhost-user,id=net0,chardev=port0', 'vhost-user,id=net1,chardev=port1']);
});

test('a comma in a path does not end the path', () => {
  const line = valuesOf({ ...machine, controlSocket: '/run/a,b' }, '-chardev');
  expect(line).toContain('socket,id=control,path=/run/a,,b,server=on,wait=on');
});

test('QEMU understands every option', async () => {
  // It gets as far as the kernel image, which is not there, only after it has parsed the rest.
  const options: MachineOptions = {
    ...machine,
    cards: [],
    consoleSocket: '/nonexistent/console',
    controlSocket: '/run/vm1.control',
    consoleLog: '/dev/null',
  };
  const { exitCode, stderr } = await execa(qemuProgram, qemuArguments(options), { reject: false });
  expect(exitCode).toBe(1);
  expect(stderr).toContain('/nonexistent/console');
  expect(stderr).not.toMatch(/invalid option|Invalid parameter|unexpected/i);
});
