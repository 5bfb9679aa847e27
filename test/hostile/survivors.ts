/**
 * `npm run survivors`: makes every attack of this folder on this switch and on others, and prints
 * who survives what. docs/survivors.md says how to read it.
 */

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { attacks } from './attacks/all.ts';
import { classes } from './attacks/attack.ts';
import { wear } from './cycles.ts';
import { cyclesTable, type Judged, survivorsTable } from './survivors-table.ts';
import { type Target, targets } from './targets.ts';
import { isSurvival, Subject } from './verdict.ts';

const samples = 10;
/** With backends that may never answer. */
const patienceMs = 10_000;
const names = targets.map(({ name }) => name).join('|');

const help = `usage: npm run survivors -- [options]

  --target ${names}   whom to attack; may be repeated; all of them unless given
  --class N         only attacks of this class, 1 to ${Object.keys(classes).length}; may be repeated
  --cycles N        no attack, but N machines that connect, negotiate and are killed
  --help`;

class UsageError extends Error {}

/** 0 if this switch survived everything it was put to. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', multiple: true },
      class: { type: 'string', multiple: true },
      cycles: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const wanted = targets.filter(({ name }) => values.target?.includes(name) ?? true);
  const unknown = values.target?.find((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) throw new UsageError(`--target ${unknown}: expected ${names}`);
  const numbers = values.class?.map((text) => whole('class', text, Object.keys(classes).length));
  const cycles = values.cycles === undefined ? undefined : whole('cycles', values.cycles, 1e6);

  const present = wanted.filter(({ name, unavailable }) => {
    const reason = unavailable();
    if (reason !== undefined) console.log(`${name}: skipped, ${reason}\n`);
    return reason === undefined;
  });
  for (const target of present) console.log(`${target.name}: ${await target.version()}`);
  if (cycles !== undefined) {
    for (const target of present) {
      const running = await target.start();
      const samplesTaken = await wear(running, cycles, samples).finally(() => running.stop());
      console.log(`\n${cyclesTable(target.name, samplesTaken)}`);
    }
    return 0;
  }
  const chosen = attacks.filter((attack) => numbers?.includes(attack.class) ?? true);
  const judged = new Map<string, readonly Judged[]>();
  for (const target of present) judged.set(target.name, await judgeAll(target, chosen));
  console.log(`\n${survivorsTable(judged)}`);
  const own = judged.get(targets[0]!.name) ?? [];
  return own.every(({ verdict }) => isSurvival(verdict)) ? 0 : 1;
}

function whole(name: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new UsageError(`--${name} ${text}: expected a whole number from 1 to ${max}`);
}

async function judgeAll(target: Target, chosen: typeof attacks): Promise<readonly Judged[]> {
  const subject = new Subject(target, patienceMs);
  const judged: Judged[] = [];
  try {
    for (const [i, attack] of chosen.entries()) {
      if (process.stderr.isTTY) {
        process.stderr.write(`\r\x1b[K${target.name} ${i + 1}/${chosen.length} ${attack.name}`);
      }
      judged.push({ attack, verdict: await subject.judge(attack) });
    }
  } finally {
    await subject.stop();
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
  return judged;
}

process.env.TSVSWITCH_ADDON ??= resolve('build/release/Release/tsvswitch.node');
try {
  process.exitCode = await main();
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  if (!isUsage) throw error;
  console.error((error as Error).message);
  process.exitCode = 2;
}
