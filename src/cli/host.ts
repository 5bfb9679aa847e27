/**
 * `tsvswitch host`: what this host has for machines, and huge pages for them.
 *
 * `status` changes nothing and needs no rights. `prepare` makes the changes as root; everybody
 * else, and --dry-run, gets them as a script for root. What it prints of a change it made has the
 * command that undoes it, and so has the script. What runs programs is loaded when one is to be
 * run.
 */

import { type Command, InvalidArgumentError } from 'commander';
import { type HostFacts, hostFacts } from '../host/facts.ts';
import { type Change, type Group, neededChanges, obstacles, type Wish } from '../host/needs.ts';
import { type Emulator, type Finding, findings, size } from '../host/report.ts';
import { qemuVersion } from '../machine/qemu-version.ts';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { newCommand } from './command.ts';

interface PrepareOptions {
  readonly memory: number;
  readonly group?: string;
  readonly persist: boolean;
  readonly dryRun: boolean;
}

export function define(): Command {
  const host = newCommand('tsvswitch host').description('What this host has for machines.');
  host
    .command('status')
    .description('show huge pages, the settings around them, KVM, QEMU and limits')
    .option('--json', 'as one JSON object', false)
    .action(status);
  host
    .command('prepare')
    .description('have huge pages for machines; never takes any away')
    .requiredOption('--memory <size>', 'of all machines together, such as 512M or 2G', memorySize)
    .option('--group <group>', 'who may use them besides root, by name or number')
    .option('--persist', 'also after the next boot', false)
    .option('--dry-run', 'only say what would be done', false)
    .action(prepare);
  return host;
}

function memorySize(text: string): number {
  const [, count, unit] = /^(\d{1,7})([MGT])(?:iB|B)?$/i.exec(text) ?? [];
  if (unit === undefined || Number(count) === 0) {
    throw new InvalidArgumentError('Expected a size such as 512M or 2G.');
  }
  return Number(count) * { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[unit.toUpperCase() as 'M'];
}

async function status({ json }: { readonly json: boolean }): Promise<void> {
  const facts = await hostFacts();
  const emulator = await emulatorOf(facts);
  const found = findings(facts, emulator);
  if (json) {
    const report = { facts, emulator, findings: found };
    // JSON has no infinity.
    const plain = (_: string, value: unknown) =>
      value === Number.POSITIVE_INFINITY ? 'unlimited' : value;
    process.stdout.write(`${JSON.stringify(report, plain, 2)}\n`);
  } else {
    process.stdout.write(table(found));
  }
}

async function emulatorOf({ devices }: HostFacts): Promise<Emulator> {
  const qemu = await qemuVersion().then(
    (version) => ({ type: 'usable', version: version.join('.') }) as const,
    (error: Error) => ({ type: 'unusable', reason: error.message }) as const,
  );
  // A status downloads nothing: without a kernel in the cache the first machine has to show it.
  const canTry = qemu.type === 'usable' && devices.kvm === 'usable';
  return { qemu, kvmWorks: canTry ? await triedKvm() : undefined };
}

/** Undefined where there is nothing to try it with. */
async function triedKvm(): Promise<boolean | undefined> {
  const { cachedGuestKernel } = await import('../tiny/kernel.ts');
  const kernel = await cachedGuestKernel();
  if (kernel === undefined) return undefined;
  const { probeKvm } = await import('../machine/kvm.ts');
  return (await probeKvm(kernel.image)).accelerator === 'kvm';
}

function table(found: readonly Finding[]): string {
  const widthOf = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length));
  const nameWidth = widthOf(found.map(({ name }) => name));
  const stateWidth = widthOf(found.map(({ state }) => state));
  return found
    .map(({ name, state, is, need }) => {
      const indent = ' '.repeat(nameWidth + stateWidth + 4);
      return `${name.padEnd(nameWidth)}  ${state.padEnd(stateWidth)}  ${is}\n${indent}${need}\n`;
    })
    .join('');
}

async function prepare(options: PrepareOptions): Promise<void> {
  const facts = await hostFacts();
  const wish: Wish = {
    memoryBytes: options.memory,
    persist: options.persist,
    ...(options.group === undefined ? {} : { group: await groupOf(options.group) }),
  };
  const changes = neededChanges(facts, wish);
  for (const obstacle of obstacles(facts, wish)) process.stdout.write(`# ${obstacle}\n`);
  if (changes.length === 0) {
    const { pageBytes, total, available } = facts.pools[0]!;
    process.stdout.write(
      `nothing to change: ${available} of ${total} huge pages of ${size(pageBytes)} are free\n`,
    );
  } else if (facts.isRootUser && !options.dryRun) {
    await make(changes);
  } else {
    for (const change of changes) {
      process.stdout.write(
        `# ${change.what} (${change.reason})\n# undo: ${change.undo}\n${change.command}\n`,
      );
    }
    if (options.dryRun) return;
    throw failure('root-needed');
  }
}

async function make(changes: readonly Change[]): Promise<void> {
  const { applied } = await import('../host/apply.ts');
  let short: TsvswitchError | undefined;
  for await (const { change, pagesFound } of applied(changes)) {
    const found = pagesFound === undefined ? '' : `, of which there are now ${pagesFound}`;
    process.stdout.write(`${change.what}${found} (${change.reason})\n  undo: ${change.undo}\n`);
    if (pagesFound === undefined) continue;
    const { from, to } = change.pages!;
    short = failure('hugepages-fewer', { found: pagesFound, to, from });
  }
  if (short !== undefined) throw short;
}

async function groupOf(nameOrNumber: string): Promise<Group> {
  const { execa } = await import('execa');
  const { stdout } = await execa('getent', ['group', nameOrNumber], { reject: false });
  const [name, , gid] = (stdout ?? '').split(':');
  if (!name || gid === undefined) {
    throw failure('group-unknown', { group: nameOrNumber });
  }
  return { name, gid: Number(gid) };
}
