/**
 * Everything that diagnosis.ts can find wrong with a port: what it does to frames and what mends
 * it, in the words of QEMU and libvirt. `subject` is the path of the port's socket, or what a
 * finding is about.
 */

interface Ailment {
  /** All frames stay where they are, some are lost, or it is only worth knowing. */
  readonly effect: 'stops' | 'loses' | 'note';
  readonly remedy: (subject: string) => string;
}

export const ailments = {
  'socket-lost': {
    effect: 'stops',
    remedy: () => 'remove the port and add it again, or restart the switch',
  },
  'socket-closed': {
    effect: 'stops',
    remedy: (folder) => `let them pass with \`chmod o+x ${folder}\`, or choose another folder`,
  },
  'socket-owner': {
    effect: 'stops',
    remedy: (group) => `start the switch with --socket-group ${group}`,
  },
  'port-down': {
    effect: 'stops',
    remedy: (port) => `let frames through again with \`tsvswitch port up ${port}\``,
  },
  'not-connected': {
    effect: 'stops',
    remedy: (path) =>
      `start QEMU with -chardev socket,id=port,path=${path} and -netdev ` +
      "vhost-user,id=net,chardev=port, or in libvirt give the <interface type='vhostuser'> " +
      `<source type='unix' path='${path}' mode='client'/>`,
  },
  'nobody-listens': {
    effect: 'stops',
    remedy: (path) => `start QEMU with -chardev socket,id=port,path=${path},server=on,wait=off`,
  },
  'memory-not-shared': {
    effect: 'stops',
    remedy: () =>
      'give QEMU -object memory-backend-memfd,id=mem,size=...,share=on and ' +
      '-machine memory-backend=mem, or in libvirt <memoryBacking> ' +
      "<source type='memfd'/><access mode='shared'/>",
  },
  'memory-lost': {
    effect: 'stops',
    remedy: () => 'start the machine again, and let nobody shorten that file',
  },
  'features-refused': {
    effect: 'stops',
    remedy: () =>
      'switch the feature off where the card is described, such as -device ' +
      'virtio-net-pci,iommu_platform=off',
  },
  'session-ended': {
    effect: 'stops',
    remedy: () => 'start the machine again, with another version of QEMU if it comes back',
  },
  'driver-not-up': {
    effect: 'stops',
    remedy: () =>
      'wait until the guest has booted, load virtio_net in it, give QEMU ' +
      "-device virtio-net-pci,netdev=net, or in QEMU's monitor `cont` a paused machine and " +
      '`set_link net on` a link that is off',
  },
  'ring-broken': {
    effect: 'stops',
    remedy: () =>
      'reboot the guest, or let it load virtio_net anew; if it comes back, the driver is at fault',
  },
  'ring-out-of-step': {
    effect: 'stops',
    remedy: () =>
      'switch packed rings off where the card is described, or use a frontend that gives such a ' +
      'ring its base with SET_VRING_BASE: 0x80008000 for a fresh one',
  },
  'ring-disabled': {
    effect: 'stops',
    remedy: () =>
      'let the frontend enable it, which QEMU does when a link is on: `set_link net on`',
  },
  'no-receive-buffers': {
    effect: 'stops',
    remedy: () =>
      'bring its interface up with `ip link set dev eth0 up`; if it is up, share its memory: ' +
      'share=on',
  },
  silent: {
    effect: 'stops',
    remedy: () =>
      'bring its interface up and give it an address, with `ip addr add 10.0.0.1/24 dev eth0`',
  },
  'no-peer': {
    effect: 'stops',
    remedy: () => 'give the switch another one with --socket',
  },
  'frame-too-long': {
    effect: 'loses',
    remedy: () =>
      'give all guests the same MTU, with -device virtio-net-pci,host_mtu=..., or in libvirt ' +
      "<mtu size='...'/>, and leave mrg_rxbuf=on",
  },
  'source-spoofed': {
    effect: 'loses',
    remedy: () =>
      'give the guest the addresses that its port is bound to, or bind the port to those it has: ' +
      'mac=... and address=... behind its --socket',
  },
  'mac-elsewhere': {
    effect: 'loses',
    remedy: () =>
      'give each machine a MAC address of its own, with -device virtio-net-pci,mac=... or ' +
      "in libvirt <mac address='...'/>",
  },
  'turned-away': {
    effect: 'note',
    remedy: () => 'give each machine a port of its own',
  },
  'no-huge-pages': {
    effect: 'note',
    remedy: () =>
      'give QEMU -object ' +
      'memory-backend-file,id=mem,size=...,mem-path=/dev/hugepages,share=on,prealloc=on, ' +
      "or in libvirt <memoryBacking> <hugepages/><access mode='shared'/>",
  },
} as const satisfies Record<string, Ailment>;

export type AilmentCode = keyof typeof ailments;
export type Effect = Ailment['effect'];
