/** Metrics, judged by Prometheus's own programs: promtool reads them, and a server scrapes them. */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type ProcessPort, Switch } from '../../../src/index.ts';
import { exposition } from '../../../src/operate/metrics/exposition.ts';
import { families, type Scrape, scrapedPort } from '../../../src/operate/metrics/families.ts';
import { MetricsListener } from '../../../src/operate/metrics/listener.ts';
import { Sessions } from '../../../src/operate/metrics/sessions.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { needs } from '../../support/needs.ts';

const hasPrometheus = (await execa('promtool', ['--version'], { reject: false })).exitCode === 0;
const needsPrometheus = needs(hasPrometheus ? undefined : 'needs the package prometheus');

let vswitch: Switch;
let sessions: Sessions;
let folder: string;

beforeEach(() => {
  vswitch = Switch.open();
  sessions = new Sessions(vswitch);
  folder = mkdtempSync(join(tmpdir(), 'metrics-'));
});

afterEach(() => {
  vswitch.close();
  rmSync(folder, { recursive: true });
});

const text = () => exposition(families, vswitch, sessions);

const scrape = (): Scrape => ({
  switch: vswitch,
  workers: vswitch.workerCounters(),
  flows: vswitch.flows(),
  ports: vswitch.ports.map((port) => scrapedPort(port, sessions)),
});

async function sampled(line: string): Promise<number | undefined> {
  const found = (await text()).split('\n').find((each) => each.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.slice(line.length + 1));
}

/** A port of this host that nobody listens on until it is closed. */
async function takenPort(): Promise<{ port: number; close(): void }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** From one process port to all others: 60 bytes to an address that nobody has. */
function send(from: ProcessPort, count: number): void {
  const frame = Buffer.alloc(60);
  frame.set([0x52, 0x54, 0, 0, 0, 99], 0);
  frame.set([0x52, 0x54, 0, 0, 0, 1], 6);
  for (let i = 0; i < count; i++) from.send(frame);
}

type Pair = [ProcessPort, ProcessPort];

/** Each to the other, which the bridge knows. */
async function talk(a: ProcessPort, b: ProcessPort): Promise<void> {
  const frame = (to: number, from: number) =>
    Buffer.concat([Buffer.from([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from]), Buffer.alloc(88)]);
  a.send(frame(2, 1));
  await vi.waitFor(() => expect(b.counters.toGuest.frames).toBe(1));
  b.send(frame(1, 2));
  await vi.waitFor(() => expect(a.counters.toGuest.frames).toBe(1));
  a.send(frame(2, 1));
  await vi.waitFor(() => expect(b.counters.toGuest.frames).toBe(2));
}

describe('what is counted', () => {
  test('what ports deliver to each other, floods to others aside', async () => {
    const [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name })) as Pair;
    vswitch.addPort({ process: 'c' });
    await talk(a, b);
    expect(await sampled('tsvswitch_flow_frames_total{from="b",to="a"}')).toBe(1);
    expect(await sampled('tsvswitch_flow_frames_total{from="a",to="b"}')).toBe(1);
    expect(await sampled('tsvswitch_flow_bytes_total{from="a",to="b"}')).toBe(100);
    expect(await text()).not.toContain('to="c"');
  });

  test('frames and bytes of both directions, and floods', async () => {
    const a = vswitch.addPort({ process: 'a' });
    vswitch.addPort({ process: 'b' });
    send(a, 3);
    const labels = 'port="a",bridge="default"';
    await vi.waitFor(async () =>
      expect(
        await sampled(
          'tsvswitch_port_frames_total{port="b",bridge="default",direction="to_guest"}',
        ),
      ).toBe(3),
    );
    expect(await sampled(`tsvswitch_port_frames_total{${labels},direction="from_guest"}`)).toBe(3);
    expect(await sampled(`tsvswitch_port_bytes_total{${labels},direction="from_guest"}`)).toBe(180);
    expect(await sampled(`tsvswitch_port_flooded_frames_total{${labels}}`)).toBe(3);
    expect(await sampled('tsvswitch_fdb_entries{bridge="default"}')).toBe(1);
  });

  test('drops, each with its reason', async () => {
    const a = vswitch.addPort({ process: 'a' });
    send(a, 2);
    const line = 'tsvswitch_port_drops_total{port="a",bridge="default",reason="noDestination"}';
    await vi.waitFor(async () => expect(await sampled(line)).toBe(2));
  });

  test('a machine that is there, its memory and its queues', async () => {
    const path = join(folder, 'web.sock');
    vswitch.addPort({ path });
    const connected = 'tsvswitch_port_connected{port="web",bridge="default"}';
    expect(await sampled(connected)).toBe(0);
    expect(await text()).not.toContain('tsvswitch_port_guest_memory_bytes');
    const guest = await TestGuest.connect({ path });
    expect(await sampled(connected)).toBe(1);
    const memory = await sampled('tsvswitch_port_guest_memory_bytes{port="web",bridge="default"}');
    expect(memory).toBeGreaterThan(0);
    const offered = await sampled(
      'tsvswitch_queue_offered_chains{port="web",bridge="default",queue="0"}',
    );
    expect(offered).toBeGreaterThan(0);
    await guest.close();
  });

  test('how often a machine has connected', async () => {
    const path = join(folder, 'web.sock');
    const port = vswitch.addPort({ path });
    const line = 'tsvswitch_port_sessions_total{port="web",bridge="default"}';
    for (let times = 0; times < 3; times++) {
      expect(await sampled(line)).toBe(times);
      await (await TestGuest.connect({ path })).close();
    }
    vswitch.removePort(port);
    vswitch.addPort({ path });
    expect(await sampled(line)).toBe(0);
  });

  test('how idle a worker is, its wake-ups and its rounds', async () => {
    const [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name }));
    const of = async (name: string, label = '') =>
      (await sampled(`tsvswitch_worker_${name}{worker="0"${label}}`))!;
    // It sleeps, and the time goes on.
    await vi.waitFor(async () => expect(await of('idle_seconds_total')).toBeGreaterThan(0));
    const idleBefore = await of('idle_seconds_total');
    const wakeupsBefore = await of('wakeups_total');
    send(a!, 3);
    await vi.waitFor(() => expect(b!.counters.toGuest.frames).toBe(3));
    // What is counted follows what is moved.
    await vi.waitFor(async () => expect(await of('round_frames_sum')).toBe(3));
    expect(await of('round_frames_count')).toBeGreaterThanOrEqual(1);
    expect(await of('round_frames_bucket', ',le="3"')).toBe(await of('round_frames_count'));
    expect(await of('idle_seconds_total')).toBeGreaterThan(idleBefore);
    await vi.waitFor(async () => expect(await of('wakeups_total')).toBeGreaterThan(wakeupsBefore));
  });

  test('every row has samples once there is something to tell, and only then', async () => {
    const none = families.filter(({ samples }) => samples(scrape()).length === 0);
    expect(none.every(({ name }) => /_(port|queue|flow)_/.test(name))).toBe(true);
    const path = join(folder, 'web.sock');
    vswitch.addPort({ path });
    const guest = await TestGuest.connect({ path });
    await talk(...(['a', 'b'].map((name) => vswitch.addPort({ process: name })) as Pair));
    const silent = families.filter(({ samples }) => samples(scrape()).length === 0);
    expect(silent).toEqual([]);
    await guest.close();
  });
});

describe('what is written', () => {
  test('names that would end a label do not', async () => {
    vswitch.addPort({ process: 'a "quoted\\name"' });
    expect(await text()).toContain('{port="a \\"quoted\\\\name\\"",bridge="default",');
  });

  test('a histogram has all that is expected of one', async () => {
    const buckets = [
      { upTo: 1, count: 2 },
      { upTo: 64, count: 5 },
    ];
    const family = {
      name: 'x',
      help: 'An example\\of\nlines.',
      type: 'histogram',
      of: 'switch',
      samples: () => [{ labels: { worker: '0' }, buckets, count: 6, sum: 1000 }],
    } as const;
    expect(await exposition([family], vswitch, sessions)).toBe(
      [
        '# HELP x An example\\\\of\\nlines.',
        '# TYPE x histogram',
        'x_bucket{worker="0",le="1"} 2',
        'x_bucket{worker="0",le="64"} 5',
        'x_bucket{worker="0",le="+Inf"} 6',
        'x_sum{worker="0"} 1000',
        'x_count{worker="0"} 6',
        '',
      ].join('\n'),
    );
  });

  test('many ports are written in slices, between which others are served', async () => {
    for (let i = 0; i < 200; i++) vswitch.addPort({ process: `p${i}` });
    let turns = 0;
    let isDone = false;
    const count = () => {
      turns++;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    const made = text();
    await new Promise(setImmediate);
    vswitch.removePort(vswitch.port('p199')!);
    const lines = (await made).split('\n');
    isDone = true;
    expect(turns).toBeGreaterThan(3);
    const familiesOf = (port: string) =>
      lines.filter((each) => each.includes(`{port="${port}",`)).map((each) => each.split('{')[0]);
    expect(familiesOf('p0').length).toBeGreaterThan(20);
    expect(familiesOf('p198')).toEqual(familiesOf('p0'));
    // One that is removed meanwhile is there as a whole, or not at all.
    expect([0, familiesOf('p0').length]).toContain(familiesOf('p199').length);
    const heads = lines.filter((each) => each.startsWith('# TYPE '));
    expect(new Set(heads).size).toBe(heads.length);
    // Samples of a family stand together.
    const names = familiesOf('p0').filter((name, i, all) => name !== all[i - 1]);
    expect(new Set(names).size).toBe(names.length);
  });

  test('promtool has nothing to say of it', needsPrometheus, async () => {
    const path = join(folder, 'web.sock');
    vswitch.addPort({ path });
    vswitch.addPort({ process: 'a "quoted\\name"' });
    const guest = await TestGuest.connect({ path });
    const check = await execa('promtool', ['check', 'metrics'], {
      input: await text(),
      reject: false,
    });
    expect(check.stderr + check.stdout).toBe('');
    expect(check.exitCode).toBe(0);
    await guest.close();
  });
});

describe('what is told of them', () => {
  test('docs/metrics.md has a row for each', () => {
    const rows = Array.from(
      readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(\w+)` \| (\w+) \| (.*) \|$/gm),
      ([, name, type, help]) => ({ name, type, help }),
    );
    expect(rows).toEqual(families.map(({ name, type, help }) => ({ name, type, help })));
  });

  test('the dashboard shows metrics that there are, and each of them', () => {
    const dashboard = readFileSync('packaging/grafana/tsvswitch.json', 'utf8');
    const shown = new Set(dashboard.match(/\b(?:tsvswitch|process)_\w+/g));
    // When a process started is no curve.
    shown.add('process_start_time_seconds');
    const names = families.map(({ name }) => name);
    const shownNames = [...shown].map((name) => name.replace(/_(?:bucket|sum|count)$/, ''));
    expect([...new Set(shownNames)].toSorted()).toEqual(names.toSorted());
  });
});

describe('where it is asked for', () => {
  test('a port that somebody has is said', async () => {
    const { port, close } = await takenPort();
    await expect(MetricsListener.listen({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'SYSTEM',
      message: expect.stringMatching(
        `^metrics cannot be served on 127.0.0.1:${port}: .*EADDRINUSE`,
      ),
    });
    close();
  });
});

describe('the listener', () => {
  let listener: MetricsListener;
  const get = (path: string, init?: RequestInit) =>
    fetch(`http://127.0.0.1:${listener.port}${path}`, init);

  beforeEach(async () => {
    listener = await MetricsListener.listen({ host: '127.0.0.1', port: 0 });
  });
  afterEach(() => listener.close());

  test('answers where metrics are, and only to readers', async () => {
    expect((await get('/metrics')).status).toBe(503);
    listener.serve(text);
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await answer.text()).toContain('# TYPE tsvswitch_info gauge\ntsvswitch_info{version="');
    expect((await get('/metrics', { method: 'HEAD' })).status).toBe(200);
    expect((await get('/metrics', { method: 'POST', body: 'x' })).status).toBe(405);
    expect((await get('/')).status).toBe(404);
  });

  test('who asks while an answer is made is given that one', async () => {
    let made = 0;
    listener.serve(async () => {
      made++;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return `${made}\n`;
    });
    const answers = await Promise.all([1, 2, 3].map(async () => (await get('/metrics')).text()));
    expect(answers).toEqual(['1\n', '1\n', '1\n']);
    expect(await (await get('/metrics')).text()).toBe('2\n');
  });

  test('an answer that cannot be made is said to be none', async () => {
    listener.serve(() => Promise.reject(new Error('closed')));
    const answer = await get('/metrics');
    expect(answer.status).toBe(500);
    expect(await answer.text()).toBe('metrics cannot be made: closed\n');
    listener.serve(text);
    expect((await get('/metrics')).status).toBe(200);
  });

  test('serves on while many connect and say nothing', async () => {
    listener.serve(text);
    const silent = Array.from({ length: 20 }, () => connect(listener.port, '127.0.0.1'));
    for (const socket of silent) socket.on('error', () => {});
    expect((await get('/metrics')).status).toBe(200);
    for (const socket of silent) socket.destroy();
  });

  test('Prometheus scrapes it', { ...needsPrometheus, timeout: 60_000 }, async () => {
    const a = vswitch.addPort({ process: 'a' });
    vswitch.addPort({ process: 'b' });
    send(a, 5);
    listener.serve(text);
    const config = join(folder, 'prometheus.yml');
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: '200ms', scrape_timeout: '200ms' },
        scrape_configs: [
          {
            job_name: 'tsvswitch',
            static_configs: [{ targets: [`127.0.0.1:${listener.port}`] }],
          },
        ],
      }),
    );
    const { port, close } = await takenPort();
    close();
    const prometheus = execa(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { timeout: 55_000, reject: false, all: true },
    );
    try {
      const query = 'tsvswitch_port_frames_total{port="b",direction="to_guest"}';
      const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`;
      await vi.waitFor(
        async () => {
          const { data } = (await (await fetch(url)).json()) as {
            data: { result: { metric: Record<string, string>; value: [number, string] }[] };
          };
          expect(data.result[0]).toMatchObject({
            metric: { bridge: 'default', job: 'tsvswitch' },
            value: [expect.any(Number), '5'],
          });
        },
        { timeout: 50_000, interval: 200 },
      );
    } finally {
      prometheus.kill('SIGTERM');
      await prometheus;
    }
  });
});
