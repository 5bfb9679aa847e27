/**
 * Metrics in the text format of Prometheus, version 0.0.4.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats.
 */

import type { Family, Labels, Sample, Scrape } from './families.ts';

export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

/** Families without a sample are left out. */
export function exposition(families: readonly Family[], scrape: Scrape): string {
  return families.map((family) => textOf(family, family.samples(scrape))).join('');
}

function textOf({ name, help, type }: Family, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.flatMap((sample) => linesOf(name, sample));
  return `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`;
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

/** A switch of 500 ports has 15,000 of these, and answers nobody else meanwhile. */
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
