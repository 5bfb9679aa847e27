/**
 * A machine as an options object, and the QEMU command line that makes it.
 *
 * Pure: no process, no file system. Every machine has shared memory, since a vhost-user backend has
 * to map it, no default devices, and two ports on unix sockets: a serial one, console, for people,
 * and a virtio one, control, for tiny/shell.ts. QEMU listens on both, and starts the guest when
 * control is connected.
 *
 * Quirk: QEMU 7.2 under TCG crashes when a driver with MSI-X starts a vhost-user network card, so
 * cards get no vectors there and interrupt by INTx.
 *
 * Source: qemu-system(1); virtio-net over vhost-user as in QEMU docs/system/devices/vhost-user.rst.
 */

export const qemuProgram = 'qemu-system-x86_64';

/** How the guest's instructions run. */
export type Accelerator = 'kvm' | 'tcg';

export type MachineMemory =
  | { readonly type: 'memfd' }
  /** `folder` is a mounted hugetlbfs. */
  | { readonly type: 'hugepages'; readonly folder: string };

export interface VhostUserCard {
  readonly type: 'vhost-user';
  /** The socket a switch listens on. */
  readonly socket: string;
  readonly mac: string;
  /** 1 unless given. */
  readonly queuePairs?: number;
  /** Further options of QEMU's virtio-net-pci, such as `{ packed: 'on', guest_tso4: 'off' }`. */
  readonly deviceOptions?: Readonly<Record<string, string>>;
  /** How this QEMU is told to come back to a switch that was restarted, such as reconnect=1. */
  readonly reconnect?: string;
}

/** Frames as datagrams between two unix sockets, one a datagram: no switch, no shared memory. */
export interface DatagramCard {
  readonly type: 'datagram';
  readonly localSocket: string;
  readonly remoteSocket: string;
  readonly mac: string;
}

/**
 * Behind QEMU's own NAT, the guest as 10.0.2.15; ssh to it is forwarded from a port of the
 * loopback.
 */
export interface UserCard {
  readonly type: 'user';
  readonly sshPort: number;
  readonly mac: string;
}

export type NetworkCard = VhostUserCard | DatagramCard | UserCard;

/** A disk on virtio. */
export interface Drive {
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly readOnly?: boolean;
}

/** A kernel that QEMU loads itself, without firmware menus or a boot loader. */
export interface DirectBoot {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
}

export interface MachineOptions {
  readonly name: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly memory: MachineMemory;
  readonly accelerator: Accelerator;
  /** undefined boots from the first drive. */
  readonly boot?: DirectBoot;
  readonly drives?: readonly Drive[];
  readonly cards: readonly NetworkCard[];
  /** Unix sockets QEMU makes, and the file that keeps all the console ever printed. */
  readonly consoleSocket: string;
  readonly consoleLog: string;
  /** undefined for a guest that has other ways to be talked to. */
  readonly controlSocket?: string;
  /** Where QEMU is talked to; see qmp.ts. */
  readonly qmpSocket?: string;
  /** Further arguments, behind all others. */
  readonly extraArguments?: readonly string[];
}

export function qemuArguments(machine: MachineOptions): string[] {
  const kvm = machine.accelerator === 'kvm';
  return [
    ...['-name', value(machine.name)],
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    ...['-machine', 'q35,memory-backend=memory'],
    ...['-accel', kvm ? 'kvm' : 'tcg,thread=multi'],
    ...['-cpu', kvm ? 'host' : 'max'],
    ...['-smp', String(machine.cpus)],
    ...['-m', `${machine.memoryMiB}M`],
    ...['-object', memoryBackend(machine)],
    ...directBoot(machine.boot),
    ...(machine.drives ?? []).flatMap((drive) => ['-drive', driveOptions(drive)]),
    ...serialPort(
      'console',
      machine.consoleSocket,
      `wait=off,logfile=${value(machine.consoleLog)}`,
    ),
    ...(machine.controlSocket === undefined ? [] : controlPort(machine.controlSocket)),
    ...(machine.qmpSocket === undefined
      ? []
      : ['-qmp', `unix:${value(machine.qmpSocket)},server=on,wait=off`]),
    ...machine.cards.flatMap((card, index) => [
      ...networkBackend(card, index),
      ...['-device', networkDevice(card, index, kvm)],
    ]),
    ...(machine.extraArguments ?? []),
  ];
}

function directBoot(boot: DirectBoot | undefined): string[] {
  if (boot === undefined) return [];
  return ['-kernel', boot.kernel, '-initrd', boot.initrd, '-append', boot.commandLine];
}

function driveOptions({ path, format, readOnly }: Drive): string {
  const options = `if=virtio,format=${format},file=${value(path)}`;
  // What a guest discards is given back to the host.
  return readOnly ? `${options},readonly=on` : `${options},discard=unmap`;
}

function memoryBackend({ memory, memoryMiB }: MachineOptions): string {
  const size = `id=memory,size=${memoryMiB}M,share=on`;
  switch (memory.type) {
    case 'memfd':
      return `memory-backend-memfd,${size}`;
    case 'hugepages':
      // Preallocated, so that too few pages are an error now and not a SIGBUS later.
      return `memory-backend-file,${size},mem-path=${value(memory.folder)},prealloc=on`;
  }
}

function serialPort(id: string, socket: string, options: string): string[] {
  return [...socketPort(id, socket, options), '-serial', `chardev:${id}`];
}

/** Not a serial port: those lose bytes of what they are sent while the host is busy. */
function controlPort(socket: string): string[] {
  return [
    // With wait=on the first words of the guest cannot be missed.
    ...socketPort('control', socket, 'wait=on'),
    ...['-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=control'],
  ];
}

function socketPort(id: string, socket: string, options: string): string[] {
  return ['-chardev', `socket,id=${id},path=${value(socket)},server=on,${options}`];
}

function networkBackend(card: NetworkCard, index: number): string[] {
  switch (card.type) {
    case 'vhost-user': {
      const queues = isMultiqueue(card) ? `,queues=${card.queuePairs}` : '';
      const reconnect = card.reconnect === undefined ? '' : `,${card.reconnect}`;
      return [
        ...['-chardev', `socket,id=port${index},path=${value(card.socket)}${reconnect}`],
        ...['-netdev', `vhost-user,id=net${index},chardev=port${index}${queues}`],
      ];
    }
    case 'datagram': {
      const local = `local.type=unix,local.path=${value(card.localSocket)}`;
      const remote = `remote.type=unix,remote.path=${value(card.remoteSocket)}`;
      return ['-netdev', `dgram,id=net${index},${local},${remote}`];
    }
    case 'user': {
      const ssh = `hostfwd=tcp:127.0.0.1:${card.sshPort}-:22`;
      return ['-netdev', `user,id=net${index},${ssh}`];
    }
  }
}

function networkDevice(card: NetworkCard, index: number, kvm: boolean): string {
  const options = [
    // No option ROM: nothing boots from the network, and looking for it takes time.
    ...['virtio-net-pci', `netdev=net${index}`, `mac=${card.mac}`, 'romfile='],
    ...(kvm ? [] : ['vectors=0']),
  ];
  if (card.type === 'vhost-user') {
    if (isMultiqueue(card)) options.push('mq=on');
    for (const [name, setting] of Object.entries(card.deviceOptions ?? {})) {
      options.push(`${name}=${value(setting)}`);
    }
  }
  return options.join(',');
}

function isMultiqueue(card: VhostUserCard): boolean {
  return (card.queuePairs ?? 1) > 1;
}

/** A value inside an option list, where a comma is written twice. */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}
