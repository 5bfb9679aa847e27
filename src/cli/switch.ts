/** `tsvswitch` without a subcommand: a switch with a port for each given socket on one bridge. */

import { resolve } from 'node:path';
import { defaultControlPath } from '../control/default-path.ts';
import { failure } from '../model/errors.ts';
import { Service } from '../operate/service/service.ts';
import type { ControlSettings, ListenSettings } from '../operate/settings.ts';
import { defaultStateFolder, givenStateFolder } from '../operate/state/state-folder.ts';
import type { TakeOver } from '../operate/upgrade/take-over.ts';
import { portsOf } from '../switch/port-options.ts';
import type { SwitchOptions } from './switch-options.ts';
import { runSwitch } from './switch-process.ts';
import { asSuccessor } from './upgrades.ts';

function controlOf(path: string | true, options: SwitchOptions): ControlSettings {
  const { controlMode: mode, controlGroup: group, controlReaders: readers } = options;
  return {
    path: path === true ? defaultControlPath() : path,
    ...(mode === undefined ? {} : { mode: mode.toString(8).padStart(3, '0') }),
    ...(group === undefined ? {} : { group }),
    ...(readers === undefined ? {} : { readers }),
  };
}

/** Undefined if TCP was not asked for. Throws BAD_OPTION for options that need it. */
function listenOf(options: SwitchOptions): ListenSettings | undefined {
  const { listen, listenCert, listenKey, listenToken, listenReadToken } = options;
  const files = {
    ...(listenCert === undefined ? {} : { certificate: listenCert }),
    ...(listenKey === undefined ? {} : { key: listenKey }),
    ...(listenToken === undefined ? {} : { token: listenToken }),
    ...(listenReadToken === undefined ? {} : { readToken: listenReadToken }),
  };
  if (listen !== undefined) return { address: listen, ...files };
  const names = { certificate: 'cert', key: 'key', token: 'token', readToken: 'read-token' };
  const [stray] = Object.keys(files) as (keyof typeof names)[];
  if (stray !== undefined) {
    throw failure('listen-without-address', { option: `--listen-${names[stray]}` });
  }
  return undefined;
}

export function run(options: SwitchOptions): Promise<void> {
  return asSuccessor((takeOver) => runFrom(options, takeOver));
}

async function runFrom(options: SwitchOptions, takeOver: TakeOver | undefined): Promise<void> {
  const service = Service.begin(process.env, process.pid, takeOver?.manager);
  const { control, metrics, sandbox, cpus, socketMode, socketGroup } = options;
  const listen = listenOf(options);
  const given = options.state;
  const state = given === undefined ? givenStateFolder(process.env) : resolve(given);
  const portSockets = {
    mode: socketMode,
    ...(socketGroup === undefined ? {} : { group: socketGroup }),
  };
  const wanted = {
    service: {
      ...(control === undefined ? {} : { control: controlOf(control, options) }),
      ...(listen === undefined ? {} : { listen }),
      ...(metrics === undefined ? {} : { metrics }),
      log: { level: options.logLevel, format: options.logFormat },
      sandbox,
    },
    options: {
      workers: options.workers,
      ...(cpus === undefined ? {} : { cpus }),
      balance: options.balance,
      idleUs: options.idleUs,
      ageingSeconds: options.ageing,
    },
    portSockets,
    stateFolder: state ?? defaultStateFolder(process.env, process.getuid!()),
    state,
  };
  await runSwitch(
    {
      ...wanted,
      // Checked option by option, in the words of the command line.
      open: (vswitch) => {
        const ports = portsOf([
          ...options.socket.map(({ path, rest }) => ({ ...portSockets, ...rest, path })),
          ...options.connect.map(({ path, rest }) => ({ ...rest, connect: path })),
        ]);
        vswitch.applyComplete({ ...vswitch.settings, ports });
      },
    },
    service,
    takeOver,
  );
}
