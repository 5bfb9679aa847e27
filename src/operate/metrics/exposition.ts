/**
 * Metrics in the text format of Prometheus, version 0.0.4.
 *
 * A switch of 500 ports has 17,000 lines, which take a hundred milliseconds. So the text is made in
 * slices of two, and between them the event loop serves everybody else: a port is looked at once,
 * and its numbers belong together; those of two ports may be some milliseconds apart.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats.
 */

import { setImmediate as othersTurn } from 'node:timers/promises';
import type { Switch } from '../../index.ts';
import { type Family, type Labels, type Sample, type Scrape, scrapedPort } from './families.ts';
import type { Sessions } from './sessions.ts';

export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

const sliceMs = 2;
/** So many ports or flows at once take less than a slice. */
const itemsOfStep = 16;

/** Families without a sample are left out. */
export async function exposition(
  families: readonly Family[],
  vswitch: Switch,
  sessions: Sessions,
): Promise<string> {
  const parts: string[] = [];
  let beganMs = performance.now();
  for (const part of steps(families, vswitch, sessions)) {
    parts.push(part);
    if (performance.now() - beganMs < sliceMs) continue;
    await othersTurn();
    beganMs = performance.now();
  }
  return parts.join('');
}

/** The parts of the text, some of them empty. */
function* steps(families: readonly Family[], vswitch: Switch, sessions: Sessions) {
  const ports: Scrape['ports'][number][] = [];
  for (const step of stepsOf(vswitch.ports)) {
    // One that was removed since has no counters any more.
    const present = step.filter((port) => vswitch.port(port.name) === port);
    ports.push(...present.map((port) => scrapedPort(port, sessions)));
    yield '';
  }
  const workers = vswitch.workerCounters();
  const scrape: Scrape = { switch: vswitch, workers, ports, flows: vswitch.flows() };
  for (const family of families) {
    let head = headOf(family);
    for (const step of partsOf(scrape, family)) {
      const samples = family.samples(step);
      if (samples.length === 0) continue;
      yield head + samples.flatMap((sample) => linesOf(family.name, sample)).join('');
      head = '';
    }
  }
}

function* partsOf(scrape: Scrape, { of }: Family): Generator<Scrape> {
  if (of === 'switch') yield scrape;
  if (of === 'ports') for (const ports of stepsOf(scrape.ports)) yield { ...scrape, ports };
  if (of === 'flows') for (const flows of stepsOf(scrape.flows)) yield { ...scrape, flows };
}

function* stepsOf<Item>(all: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < all.length; at += itemsOfStep) yield all.slice(at, at + itemsOfStep);
}

function headOf({ name, help, type }: Family): string {
  return `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${type}\n`;
}

function linesOf(name: string, sample: Sample): string[] {
  const { labels } = sample;
  if ('value' in sample) return [line(name, labels, sample.value)];
  const { buckets, count, sum } = sample;
  return [
    ...buckets.map((bucket) =>
      line(`${name}_bucket`, { ...labels, le: String(bucket.upTo) }, bucket.count),
    ),
    line(`${name}_bucket`, { ...labels, le: '+Inf' }, count),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, count),
  ];
}

function line(name: string, labels: Labels, value: number): string {
  let pairs = '';
  for (const label in labels) {
    pairs += `${pairs === '' ? '' : ','}${label}="${escapedLabel(labels[label]!)}"`;
  }
  return pairs === '' ? `${name} ${value}\n` : `${name}{${pairs}} ${value}\n`;
}

function escapedHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

const special = /[\\\n"]/;

/** Names of ports may have quotes and backslashes. */
function escapedLabel(text: string): string {
  return special.test(text) ? escapedHelp(text).replaceAll('"', '\\"') : text;
}
