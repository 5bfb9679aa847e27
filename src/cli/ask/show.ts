/**
 * `tsvswitch show`: rows of a running switch as a table or as JSON, once or again and again; and
 * its events as they happen.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import { toJson } from '../../control/json.ts';
import { failure } from '../../model/errors.ts';
import { unknownKey } from '../../model/wording.ts';
import { asking, type Everywhere, seconds } from './asking.ts';
import { type Column, sorted, tableText } from './table.ts';
import { type View, type ViewName, views, type Wanted } from './views.ts';

interface Options extends Everywhere {
  readonly bridge?: string;
  readonly sort?: string;
  readonly watch?: number | true;
  readonly wide?: true;
  readonly quiet?: true;
  readonly headers?: boolean;
}

const watchSecondsDefault = 2;
const millisecondsASecond = 1000;
/** To the upper left corner, and everything behind it away (ECMA-48 CUP and ED). */
const clearScreen = '\x1b[H\x1b[J';

export function addShow(program: Command): void {
  const show = program
    .command('show')
    .description('Shows what a running switch has, as a table.')
    .option('--bridge <bridge>', 'only of this bridge')
    .option('--sort <column>', 'by this column: texts from A to Z, numbers from the largest')
    .option('-w, --watch [seconds]', 'again every 2 seconds, or as often as said', seconds)
    .option('--wide', 'all columns')
    .option('-q, --quiet', 'names only')
    .option('--no-headers', 'without the heads of the columns');
  for (const [name, view] of Object.entries(views)) {
    show
      .command(`${name} [port]`)
      .description(view.summary)
      .action((port: string | undefined, _: object, command: Command) =>
        asking(command, (client) => showView(client, view as View<unknown>, port, command)),
      );
  }
  show
    .command('events')
    .description('what happens from now on, one a line, until it is interrupted')
    .action((_: object, command: Command) => asking(command, showEvents));
}

/** A bare noun shows, as with iproute2. */
export function showNamed(name: ViewName, command: Command): Promise<void> {
  return asking(command, (client) =>
    showView(client, views[name] as View<unknown>, undefined, command),
  );
}

async function showView<Row>(
  client: ControlClient,
  view: View<Row>,
  port: string | undefined,
  command: Command,
): Promise<void> {
  const options = command.optsWithGlobals<Options>();
  const { bridge, watch } = options;
  const wanted: Wanted = {
    ...(port !== undefined && { port }),
    ...(bridge !== undefined && { bridge }),
  };
  const column = options.sort === undefined ? undefined : columnNamed(view.columns, options.sort);
  const text = async () => {
    const rows = await view.rows(client, wanted);
    return textOf(view, column === undefined ? rows : sorted(rows, column), options);
  };
  if (watch === undefined) {
    process.stdout.write(await text());
    return;
  }
  const pauseMs = (watch === true ? watchSecondsDefault : watch) * millisecondsASecond;
  const isScreen = process.stdout.isTTY && options.json !== true;
  for (let isFirst = true; ; isFirst = false) {
    const now = await text();
    const before = isScreen ? clearScreen : isFirst || options.json === true ? '' : '\n';
    // Whoever reads no more has seen enough.
    if (process.stdout.destroyed) return;
    process.stdout.write(`${before}${now}`);
    await sleep(pauseMs);
  }
}

function textOf<Row>(view: View<Row>, rows: readonly Row[], options: Options): string {
  // With --watch a line is a document.
  if (options.json) return `${toJson(rows, options.watch === undefined ? 2 : undefined)}\n`;
  if (options.quiet) return rows.map((row) => `${view.name(row)}\n`).join('');
  const columns = view.columns.filter(({ isWide }) => options.wide === true || isWide !== true);
  return tableText(columns, rows, {
    heads: options.headers !== false,
    ...(process.stdout.isTTY && { width: process.stdout.columns }),
  });
}

function columnNamed<Row>(columns: readonly Column<Row>[], name: string): Column<Row> {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z]/g, '');
  const found = columns.find(({ head }) => plain(head) === plain(name));
  if (found !== undefined) return found;
  const heads = columns.map(({ head }) => head.toLowerCase().replaceAll(' ', '-'));
  throw failure('option-key-unknown', { name: '--sort', what: unknownKey(name, heads) });
}

async function showEvents(client: ControlClient): Promise<void> {
  for await (const event of client.events()) {
    if (process.stdout.destroyed) return;
    process.stdout.write(`${toJson(event)}\n`);
  }
}
