/** `tsvswitch fdb`: the addresses that bridges know, fixed by hand or forgotten. */

import { type Command, Option } from 'commander';
import type { FixedAddress, SwitchSettings } from '../../index.ts';
import { failure } from '../../model/errors.ts';
import { placeKey } from '../../model/place.ts';
import { asking } from './asking.ts';
import { edit, ifExists, noun } from './nouns.ts';

export function addFdb(program: Command): void {
  const fdb = noun(program, 'fdb', 'Shows, fixes or flushes what bridges know.', 'fdb');
  addFixing(fdb);
  fdb
    .command('flush')
    .description('forget what was learned; frames are flooded until it is learned again')
    .option('--bridge <bridge>', 'of this bridge only')
    .action(({ bridge }: { readonly bridge?: string }, command: Command) =>
      asking(command, async (client) => {
        const all = bridge === undefined ? await client.bridges() : [{ name: bridge }];
        for (const { name } of all) await client.flush(name);
      }),
    );
}

interface FixOptions {
  readonly port?: string;
  readonly drop?: true;
  readonly bridge?: string;
}

function addFixing(fdb: Command): void {
  const bridge = 'the bridge of an address without a port';
  fdb
    .command('add <mac>')
    .description('fix where an address is: it is neither learned nor forgotten')
    .addOption(new Option('--port <port>', 'behind this port').conflicts(['drop', 'bridge']))
    .option('--drop', 'nowhere: what is sent to it ends')
    .option('--bridge <bridge>', bridge)
    .action((mac: string, { port, drop, bridge }: FixOptions, command: Command) => {
      if (port === undefined && !drop) throw failure('fdb-nowhere', { mac });
      const address = { mac, ...(port && { port }), ...(bridge && { bridge }) };
      return edit(command, (settings) => {
        const key = placeKey(address, settings.ports);
        settings.fdb = [...settings.fdb.filter(not(key, settings)), address];
      });
    });
  fdb
    .command('remove <mac>')
    .description('let an address be learned again')
    .option('--bridge <bridge>', 'on this bridge only')
    .option('--if-exists', `an address that ${ifExists}`)
    .action((mac: string, options: { bridge?: string; ifExists?: true }, command: Command) =>
      edit(command, (settings) => {
        const bridges =
          options.bridge === undefined ? Object.keys(settings.bridges) : [options.bridge];
        const before = settings.fdb.length;
        for (const bridge of bridges) {
          settings.fdb = settings.fdb.filter(not(placeKey({ mac, bridge }, {}), settings));
        }
        if (settings.fdb.length === before && !options.ifExists) {
          throw failure('fdb-not-fixed', { mac });
        }
      }),
    );
}

/** Those of another place. */
function not(key: string, { ports }: SwitchSettings): (address: FixedAddress) => boolean {
  return (address) => placeKey(address, ports) !== key;
}
