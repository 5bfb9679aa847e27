/**
 * Results as bar charts: SVG files that need no script, no font and no browser to make, and follow
 * the reader's light or dark colour scheme.
 *
 * A measure says by itself in which chart it has its place. Bars are medians, the thin line on a
 * bar reaches from the lowest to the highest run, and the value is written above. A chart that the
 * results hold nothing for is not drawn.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cellOf, type Results } from './results.ts';
import type { Spread } from './statistics.ts';
import type { ChartId } from './trials/trial.ts';

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly scale: 'linear' | 'logarithmic';
  /** Of a value as it is written above its bar. */
  readonly label: (value: number) => string;
}

const rate = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
const time = (ns: number): string =>
  ns < 1e3 ? ns.toFixed(0) : `${(ns / 1e3).toFixed(ns < 1e4 ? 1 : 0)}k`;

const charts = {
  'flood-headers': {
    title: 'Frames delivered, two ports, one worker, guests touch headers',
    unit: 'million frames a second',
    scale: 'linear',
    label: rate,
  },
  'flood-bytes': {
    title: 'Frames delivered, two ports, one worker, guests write and read every byte',
    unit: 'million frames a second',
    scale: 'linear',
    label: rate,
  },
  ports: {
    title: 'Frames of 64 B delivered by one worker, all ports added',
    unit: 'million frames a second',
    scale: 'linear',
    label: rate,
  },
  latency: {
    title:
      'From guest to guest, median; load in percent of a switch’s own rate, or the same for all',
    unit: 'nanoseconds, logarithmic',
    scale: 'logarithmic',
    label: time,
  },
  tcp: {
    title: 'TCP between two Linux kernels (User-mode Linux) that share two CPUs with the switch',
    unit: 'Gbit/s',
    scale: 'linear',
    label: rate,
  },
} as const satisfies Record<ChartId, Chart>;

interface Bar {
  readonly category: string;
  readonly series: string;
  readonly spread: Spread;
}

/** Writes every chart that has bars into `folder` and returns the files. */
export function writeCharts(results: Results, folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  return (Object.keys(charts) as ChartId[]).flatMap((id) => {
    const bars = barsOf(results, id);
    if (bars.length === 0) return [];
    const file = join(folder, `${id}.svg`);
    const names = results.switches.map(({ name }) => name);
    writeFileSync(file, draw(charts[id], bars, names, captionOf(results)));
    return [file];
  });
}

function barsOf(results: Results, id: ChartId): Bar[] {
  return results.trials.flatMap((trial) =>
    trial.measures.flatMap(({ charts: places = [] }, index) => {
      const place = places.find((one) => one.id === id);
      if (place === undefined) return [];
      return results.switches.flatMap(({ name }) => {
        const cell = cellOf(trial, index, name);
        if (cell.kind !== 'measured') return [];
        return [{ category: place.category, series: name, spread: cell.spread }];
      });
    }),
  );
}

function captionOf({ machine, switches, rounds }: Results): string {
  const versions = new Set(switches.map(({ version }) => version));
  return `${machine.cpuModel}; ${[...versions].join(', ')}; medians of ${rounds} rounds`;
}

// Everything is placed on a fixed width; the height of the plot is the same in all charts.
const width = 960;
const plot = { left: 56, right: width - 16, top: 84, height: 260 };
const bottom = plot.top + plot.height;
const height = bottom + 56;
const groupGapShare = 0.2;
/**
 * Distinct in both schemes and for the colour-blind (Okabe and Ito); a switch has one in all
 * charts.
 */
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#d55e00', '#56b4e9', '#7f7f7f'];

const style = `
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 15px; font-weight: 600; }
    .faint { fill: #57606a; font-size: 11px; }
    .value { font-size: 10px; text-anchor: middle; }
    .grid { stroke: #d0d7de; }
    .range { stroke: #24292f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .faint { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .range { stroke: #e6edf3; }
    }`;

/** Where values lie on the vertical axis, and which of them have a line. */
interface Axis {
  readonly ticks: readonly number[];
  readonly y: (value: number) => number;
}

function linearAxis(max: number): Axis {
  const rough = max / 5;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((s) => s >= rough)!;
  const top = Math.ceil(max / step) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return { ticks, y: (value) => bottom - (value / top) * plot.height };
}

function logarithmicAxis(min: number, max: number): Axis {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  const decades = Math.max(high - low, 1);
  const ticks = Array.from({ length: decades + 1 }, (_, i) => 10 ** (low + i));
  const share = (value: number): number => (Math.log10(value) - low) / decades;
  return { ticks, y: (value) => bottom - share(Math.max(value, 10 ** low)) * plot.height };
}

function axisOf({ scale }: Chart, bars: readonly Bar[]): Axis {
  const max = Math.max(...bars.map(({ spread }) => spread.max), Number.MIN_VALUE);
  if (scale === 'linear') return linearAxis(max);
  return logarithmicAxis(Math.max(Math.min(...bars.map(({ spread }) => spread.min)), 1), max);
}

function draw(
  chart: Chart,
  bars: readonly Bar[],
  switches: readonly string[],
  caption: string,
): string {
  const categories = [...new Set(bars.map(({ category }) => category))];
  const series = switches.filter((name) => bars.some((bar) => bar.series === name));
  const colourOf = (name: string): string => colours[switches.indexOf(name) % colours.length]!;
  const axis = axisOf(chart, bars);
  const groupWidth = (plot.right - plot.left) / categories.length;
  const barWidth = (groupWidth * (1 - groupGapShare)) / series.length;
  const groupLeft = (category: string): number =>
    plot.left + groupWidth * (categories.indexOf(category) + groupGapShare / 2);

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `  <title>${escapeXml(chart.title)}</title>`,
    `  <style>${style}\n  </style>`,
    text(plot.left, 24, chart.title, 'title'),
    text(plot.left, 42, chart.unit, 'faint'),
    ...legend(series, colourOf),
    ...axis.ticks.flatMap((tick) => gridLine(axis.y(tick), tick, chart)),
    ...bars.flatMap((bar) => {
      const x = groupLeft(bar.category) + barWidth * series.indexOf(bar.series);
      return drawBar(bar, x, barWidth, colourOf(bar.series), {
        axis,
        chart,
      });
    }),
    ...categories.map((category) => {
      const middle = groupLeft(category) + (groupWidth * (1 - groupGapShare)) / 2;
      return (
        `  <text x="${middle.toFixed(1)}" y="${bottom + 18}" ` +
        `text-anchor="middle">${escapeXml(category)}</text>`
      );
    }),
    text(plot.left, height - 8, caption, 'faint'),
    '</svg>\n',
  ].join('\n');
}

function drawBar(
  { category, series, spread }: Bar,
  x: number,
  barWidth: number,
  colour: string,
  { axis, chart }: { readonly axis: Axis; readonly chart: Chart },
): string[] {
  const [top, lowest, highest] = [spread.median, spread.min, spread.max].map(axis.y) as [
    number,
    number,
    number,
  ];
  const middle = (x + barWidth / 2).toFixed(1);
  const value = chart.label(spread.median);
  return [
    `  <rect x="${x.toFixed(1)}" y="${top.toFixed(1)}" width="${(barWidth - 1).toFixed(1)}" ` +
      `height="${(bottom - top).toFixed(1)}" ` +
      `fill="${colour}"><title>${escapeXml(`${series}, ${category}: ${value}`)}</title></rect>`,
    `  <line class="range" x1="${middle}" x2="${middle}" y1="${lowest.toFixed(1)}" ` +
      `y2="${highest.toFixed(1)}"/>`,
    `  <text class="value" x="${middle}" y="${(highest - 4).toFixed(1)}">${value}</text>`,
  ];
}

function gridLine(y: number, tick: number, { label }: Chart): string[] {
  const at = y.toFixed(1);
  return [
    `  <line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${at}" y2="${at}"/>`,
    `  <text class="faint" x="${plot.left - 6}" y="${(y + 4).toFixed(1)}" ` +
      `text-anchor="end">${tick === 0 ? '0' : label(tick)}</text>`,
  ];
}

function legend(series: readonly string[], colourOf: (name: string) => string): string[] {
  const step = 130;
  return series.flatMap((name, i) => [
    `  <rect x="${plot.left + i * step}" y="54" width="10" height="10" fill="${colourOf(name)}"/>`,
    text(plot.left + i * step + 16, 63, name),
  ]);
}

function text(x: number, y: number, content: string, kind?: string): string {
  const attribute = kind === undefined ? '' : ` class="${kind}"`;
  return `  <text${attribute} x="${x}" y="${y}">${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
