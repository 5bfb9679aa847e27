/**
 * The programs of the system that the project needs, and the Debian packages they come in.
 *
 * A row names what must be there: a program in PATH, or, for packages of plug-ins, the package
 * itself. Package names with a version in them (DPDK's) are patterns, looked up with apt-cache.
 * Optional ones are installed if that is possible and otherwise left to be reported by who needs
 * them. As root on Debian or Ubuntu missing packages are installed; otherwise the command is said.
 */

import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cacheFolder, outputOf, runQuietly, SetupError, say } from './processes.mjs';

const all = [
  ...['demo', 'test', 'bench', 'survivors', 'chaos', 'fuzz', 'sanitized', 'memcheck', 'soak'],
];
const guests = ['demo', 'test', 'chaos'];

/** What runs other switches beside this one. */
const peers = ['bench', 'survivors'];

/** Tasks that have all of other tasks in them. */
const tasksWithin = { 'test-all': ['test', 'fuzz', 'sanitized'] };

const requirements = [
  { program: 'g++', package: 'g++', tasks: all, isForBuilding: true },
  { program: 'make', package: 'make', tasks: all, isForBuilding: true },
  { program: 'cmake', package: 'cmake', tasks: all, isForBuilding: true },
  // For node-gyp, which builds npm packages with native code.
  { program: 'python3', package: 'python3', tasks: all, isForBuilding: true },
  { program: 'valgrind', package: 'valgrind', tasks: ['memcheck'] },
  // libFuzzer comes with clang, its runtime library does not.
  { program: 'clang++', package: 'clang', tasks: ['fuzz'] },
  { packagePattern: 'libclang-rt-dev', tasks: ['fuzz'] },
  { program: 'qemu-system-x86_64', package: 'qemu-system-x86', tasks: guests },
  // The package brings the addon for both: the other one is cross compiled, and run.
  process.arch === 'arm64'
    ? { program: 'x86_64-linux-gnu-g++', package: 'g++-x86-64-linux-gnu', tasks: ['test-all'] }
    : { program: 'aarch64-linux-gnu-g++', package: 'g++-aarch64-linux-gnu', tasks: ['test-all'] },
  { program: 'qemu-aarch64', package: 'qemu-user', tasks: ['test-all'] },
  { program: 'busybox', package: 'busybox-static', tasks: guests },
  { program: 'iperf3', package: 'iperf3', tasks: guests },
  // A kernel that is a program, with a virtio-net driver; nothing of it for another architecture.
  ...(process.arch === 'x64'
    ? [
        {
          program: 'linux.uml',
          package: 'user-mode-linux',
          tasks: ['test'],
          optionalTasks: ['demo'],
        },
      ]
    : []),
  // Queue pairs and offloads of its network card.
  { program: 'ethtool', package: 'ethtool', tasks: ['test'], folders: ['/usr/sbin'] },
  // Kernel modules come compressed with one or the other, or not at all.
  { program: 'xz', package: 'xz-utils', tasks: guests },
  { program: 'zstd', package: 'zstd', tasks: guests },
  // How machines of a lab are logged in to: the tiny guest's server, and the host's client.
  { program: 'dropbear', package: 'dropbear-bin', tasks: ['test'], folders: ['/usr/sbin'] },
  { program: 'ssh', package: 'openssh-client', tasks: ['test'] },
  { program: 'genisoimage', package: 'genisoimage', tasks: ['test'] },
  // What stands in for it, and what cloud-init reads its documents with.
  { program: 'xorriso', package: 'xorriso', tasks: ['test'] },
  { packagePattern: 'python3-yaml', tasks: ['test'] },
  // Disks of machines, and the Debian that is built for them.
  { program: 'qemu-img', package: 'qemu-utils', tasks: ['test'] },
  { program: 'mmdebstrap', package: 'mmdebstrap', tasks: ['test'] },
  { program: 'mke2fs', package: 'e2fsprogs', tasks: ['test'], folders: ['/usr/sbin'] },
  // Reads what the frame builders make.
  { program: 'tcpdump', package: 'tcpdump', tasks: ['test'] },
  // The independent frontend in the tests, and a peer in the benchmark.
  { program: 'dpdk-testpmd', package: 'dpdk-dev', tasks: ['test'], optionalTasks: peers },
  ...['net-virtio', 'net-vhost', 'mempool-ring', 'net-ring'].map((library) => ({
    packagePattern: `librte-${library}[0-9]+`,
    tasks: ['test'],
    optionalTasks: peers,
  })),
  // Without them the test of docs/libvirt.md is skipped.
  {
    program: 'libvirtd',
    folders: ['/usr/sbin'],
    package: 'libvirt-daemon',
    tasks: [],
    optionalTasks: ['test'],
  },
  // The service manager of the tests, and what judges the units.
  { program: 'systemd-socket-activate', package: 'systemd', tasks: ['test'] },
  // What the documents ask a switch with, and what checks their XML.
  { program: 'curl', package: 'curl', tasks: ['test'] },
  // Reads our metrics, and says whether they are written as they should be.
  { program: 'prometheus', package: 'prometheus', tasks: [], optionalTasks: ['test'] },
  // Says whether our manual page is written as it should be.
  { program: 'mandoc', package: 'mandoc', tasks: [], optionalTasks: ['test'] },
  // What completes our commands as well as bash.
  { program: 'fish', package: 'fish', tasks: [], optionalTasks: ['test'] },
  { program: 'zsh', package: 'zsh', tasks: [], optionalTasks: ['test'] },
  { program: 'xmllint', package: 'libxml2-utils', tasks: ['test'] },
  { program: 'virsh', package: 'libvirt-clients', tasks: [], optionalTasks: ['test'] },
  { packagePattern: 'libvirt-daemon-driver-qemu', tasks: [], optionalTasks: ['test'] },
  {
    program: 'ovs-vswitchd-dpdk',
    folders: ['/usr/lib/openvswitch-switch-dpdk'],
    package: 'openvswitch-switch-dpdk',
    tasks: [],
    // Another backend for the test guests, and a peer in the benchmark.
    optionalTasks: ['test', ...peers],
  },
];

/** The packages of the guest's kernel; see src/tiny/kernel.ts, which unpacks one of them. */
const kernelPackages = ['linux-image-cloud-amd64', 'linux-image-virtual'];

const aptOptions = [
  ...['-q', '-y', '-o', 'DPkg::Lock::Timeout=300'],
  // Nobody is there to be asked about a configuration file: it stays as it is.
  ...['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold'],
];
const aptEnvironment = { DEBIAN_FRONTEND: 'noninteractive' };
let areListsNew = false;

/**
 * What a task still needs, to be installed in two steps: what its build takes, and all others.
 * Throws SetupError with the command for who may not install.
 */
export function systemPackages(task) {
  const within = [task, ...(tasksWithin[task] ?? [])];
  const isFor = (tasks = []) => tasks.some((each) => within.includes(each));
  const missing = requirements.filter(
    (row) => (isFor(row.tasks) || isFor(row.optionalTasks)) && !isThere(row),
  );
  const required = missing.filter((row) => isFor(row.tasks));
  const hasApt = outputOf('apt-get', ['--version']) !== undefined;
  const needsLists = hasApt && isFor(guests) && !kernelIsWithinReach();
  if (required.length > 0 && !hasApt) {
    const wanted = required.map((row) => row.program ?? row.packagePattern);
    throw new SetupError(`please install what is missing: ${wanted.join(', ')}`);
  }
  if (hasApt && process.getuid() !== 0) checkNothingIsMissing(required, needsLists);
  const mayInstall = hasApt && process.getuid() === 0;
  const step = (rows, alsoLists = false) => ({
    required: rows.filter((row) => required.includes(row)),
    optional: rows.filter((row) => !required.includes(row)),
    needsLists: alsoLists,
  });
  const forBuilding = step(missing.filter((row) => row.isForBuilding));
  const others = step(
    missing.filter((row) => !row.isForBuilding),
    needsLists,
  );
  return {
    installForBuilding: async () => mayInstall && installStep(forBuilding),
    installOthers: async () => mayInstall && installStep(others),
  };
}

function checkNothingIsMissing(required, needsLists) {
  const commands = [
    ...(needsLists ? ['apt-get update'] : []),
    ...(required.length > 0 ? [installCommand(required)] : []),
  ];
  if (commands.length === 0) return;
  throw new SetupError(
    `system packages are missing; please run\n\n  sudo sh -c '${commands.join(' && ')}'\n\nand ` +
      'try again',
  );
}

/**
 * In one go, unless that fails: what is optional, and cannot be had, is reported by who needs it.
 */
async function installStep({ required, optional, needsLists }) {
  const rows = [...required, ...optional];
  if (needsLists || rows.some((row) => packageOf(row) === undefined)) await updateLists();
  const known = optional.filter((row) => packageOf(row) !== undefined);
  if (required.length + known.length === 0) return;
  try {
    await install([...required, ...known]);
  } catch (error) {
    if (known.length === 0) throw error;
    if (required.length > 0) await install(required);
  }
}

function isThere(row) {
  return row.program === undefined
    ? packageIsInstalled(row.packagePattern.replace('+', '*'))
    : programIsThere(row.program, row.folders);
}

function programIsThere(program, folders = []) {
  const path = (process.env.PATH ?? '').split(delimiter);
  return [...path, ...folders].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** `glob` is a package name with dpkg's wildcards. */
function packageIsInstalled(glob) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that is how dpkg-query wants it
  const format = '--showformat=${db:Status-Status}\n';
  return (
    outputOf('dpkg-query', ['--show', format, glob])?.split('\n').includes('installed') ?? false
  );
}

/** The name of the package of a row, or undefined if apt does not know one. */
function packageOf(row) {
  const names =
    row.packagePattern === undefined
      ? outputOf('apt-cache', ['show', row.package]) && [row.package]
      : outputOf('apt-cache', ['search', '--names-only', `^${row.packagePattern}$`])
          ?.split('\n')
          .map((line) => line.split(' ')[0]);
  return names
    ?.filter((name) => name !== '')
    .sort()
    .at(-1);
}

function kernelIsWithinReach() {
  try {
    if (readdirSync(cacheFolder()).some((name) => /^kernel-(?!.*\.partial$)/.test(name)))
      return true;
  } catch {
    // No cache folder yet.
  }
  return kernelPackages.some((name) => outputOf('apt-cache', ['show', name]));
}

function packageNames(rows) {
  return rows.map((row) => packageOf(row) ?? row.package ?? row.packagePattern);
}

function installCommand(rows) {
  return `apt-get install --no-install-recommends ${packageNames(rows).join(' ')}`;
}

async function install(rows) {
  say(`installing ${packageNames(rows).join(', ')} ...`);
  const attempt = () =>
    runQuietly(
      'apt-get',
      ['install', '--no-install-recommends', ...aptOptions, ...packageNames(rows)],
      aptEnvironment,
    );
  if ((await attempt()).succeeded) return;
  // Package lists that are a while old name versions that are no longer there.
  await updateLists();
  const { succeeded, output } = await attempt();
  if (!succeeded) {
    throw new SetupError(`${output.trimEnd()}\n\n\`${installCommand(rows)}\` failed`);
  }
}

async function updateLists() {
  if (areListsNew) return;
  say('updating the package lists ...');
  const { succeeded, output } = await runQuietly('apt-get', ['update', '-q'], aptEnvironment);
  if (!succeeded) throw new SetupError(`${output.trimEnd()}\n\n\`apt-get update\` failed`);
  areListsNew = true;
}
