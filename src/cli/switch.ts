/** `tsvswitch` without a subcommand: a switch with a port for each given socket on one bridge. */

import { defaultControlPath } from '../control/default-path.ts';
import { Service } from '../operate/service/service.ts';
import type { ControlSettings } from '../operate/settings.ts';
import { portsOf } from '../switch/port-options.ts';
import type { SwitchOptions } from './switch-options.ts';
import { runSwitch } from './switch-process.ts';

function controlOf(path: string | true, options: SwitchOptions): ControlSettings {
  const { controlMode: mode, controlGroup: group, controlReaders: readers } = options;
  return {
    path: path === true ? defaultControlPath() : path,
    ...(mode === undefined ? {} : { mode: mode.toString(8).padStart(3, '0') }),
    ...(group === undefined ? {} : { group }),
    ...(readers === undefined ? {} : { readers }),
  };
}

export async function run(options: SwitchOptions): Promise<void> {
  const service = Service.begin(process.env, process.pid);
  const { control, metrics, sandbox, cpus, socketMode, socketGroup } = options;
  const portSockets = {
    mode: socketMode,
    ...(socketGroup === undefined ? {} : { group: socketGroup }),
  };
  const wanted = {
    service: {
      ...(control === undefined ? {} : { control: controlOf(control, options) }),
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
  );
}
