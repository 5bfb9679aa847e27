/**
 * What `builtin:debian` is: the packages, and how it differs from what they install.
 *
 * It is Debian with cloud-init, an ssh server and iperf3, made to boot fast where every instruction
 * is emulated: no boot loader, an initrd that only finds the disk, one data source and the useful
 * modules of cloud-init, systemd-networkd alone for the network, no timers. Pure: debian.ts does
 * the building.
 */

export const filesystemLabel = 'tsvswitch-root';

/** Holes on disk; room for what people install. */
export const filesystemBytes = 4 * 2 ** 30;

/** apt itself and everything Debian calls essential come in addition. */
export const packages = [
  'linux-image-cloud-amd64',
  ...['systemd-sysv', 'udev', 'dbus', 'kmod', 'e2fsprogs', 'busybox-static'],
  ...['cloud-init', 'openssh-server', 'sudo'],
  ...['iproute2', 'iputils-ping', 'iperf3', 'ethtool', 'procps'],
];

/** Without documentation and translations: a third of all files, and nobody reads them in here. */
export const dpkgOptions = [
  'path-exclude=/usr/share/doc/*',
  'path-exclude=/usr/share/info/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/man/*',
  // Making a locale takes this one.
  'path-include=/usr/share/locale/locale.alias',
  // What a power failure leaves of half a system is of no interest.
  'force-unsafe-io',
];

/** What the initrd loads to find the disk, in this order. */
export const modules = [
  'virtio_ring',
  'virtio',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'virtio_blk',
  'crc16',
  'mbcache',
  'jbd2',
  'ext4',
];

/** no_timer_check: see tiny/guest.ts. */
export const kernelCommandLine = 'console=ttyS0 quiet no_timer_check';

/** Housekeeping for machines that live long, and a console on a display that is not there. */
const masked = [
  'apt-daily-upgrade.timer',
  'apt-daily.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty@tty1.service',
  'getty-static.service',
];

const files: Readonly<Record<string, string>> = {
  '/etc/fstab': `LABEL=${filesystemLabel} / ext4 rw,noatime 0 0\n`,
  '/etc/default/locale': 'LANG=C.UTF-8\n',
  // Where QEMU's user-mode network answers.
  '/etc/resolv.conf': 'nameserver 10.0.2.3\n',
  '/etc/cloud/cloud.cfg.d/90-tsvswitch.cfg': `\
datasource_list: [NoCloud]
system_info:
  network:
    renderers: [networkd]
ssh_genkeytypes: [ed25519]
locale: C.UTF-8
manage_etc_hosts: localhost
cloud_init_modules:
- bootcmd
- write-files
- resizefs
- disk_setup
- mounts
- set_hostname
- update_hostname
- update_etc_hosts
- ca-certs
- users-groups
- ssh
cloud_config_modules:
- ssh-import-id
- locale
- set-passwords
- apt-configure
- ntp
- timezone
- runcmd
cloud_final_modules:
- package-update-upgrade-install
- write-files-deferred
- scripts-vendor
- scripts-per-once
- scripts-per-boot
- scripts-per-instance
- scripts-user
- phone-home
- final-message
- power-state-change
`,
  // The capability that ping is installed with gets lost on the way into the disk; it needs none
  // so.
  '/etc/sysctl.d/ping.conf': 'net.ipv4.ping_group_range = 0 2147483647\n',
  // A card whose switch is not there yet must not hold up the boot.
  '/etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf': `\
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=30
`,
};

/** Run on the host when all packages are there; the root of the new system is $1. */
export const customizeScript = `\
set -e
${Object.entries(files)
  .map(
    ([path, content]) => `\
mkdir -p "$(dirname "$1${path}")"
cat >"$1${path}" <<'END'
${content}END
`,
  )
  .join('')}
chroot "$1" systemctl enable systemd-networkd.service
chroot "$1" systemctl mask ${masked.join(' ')}
# The modules have to stay with the kernel that QEMU boots.
chroot "$1" apt-mark hold linux-image-cloud-amd64
# Every machine makes its own keys; and options of the building are not the guest's.
rm -f "$1"/etc/ssh/ssh_host_*_key* "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
`;

/** What of busybox the init of the initrd calls. */
export const initApplets = [
  'sh',
  'mkdir',
  'mount',
  'umount',
  'insmod',
  'findfs',
  'sleep',
  'poweroff',
  'switch_root',
];

/** The init of the initrd. */
export function initScript(moduleFiles: readonly string[]): string {
  return `#!/bin/sh
export PATH=/bin
mkdir /proc /system
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
for module in ${moduleFiles.join(' ')}; do
  insmod "/modules/$module"
done
tries=0
until disk=$(findfs LABEL=${filesystemLabel} 2>/dev/null); do
  tries=$((tries + 1))
  if [ "$tries" -gt 50 ]; then
    echo "initrd: no virtio disk has a file system labelled ${filesystemLabel}"
    poweroff -f
  fi
  sleep 0.1
done
mount -t ext4 -o rw,noatime "$disk" /system || poweroff -f
umount /proc
mount -o move /dev /system/dev
exec switch_root /system /sbin/init
`;
}

/** Everything that makes one such Debian differ from another. */
export const all = [
  packages,
  dpkgOptions,
  filesystemBytes,
  customizeScript,
  modules,
  initApplets,
  initScript([]),
];
