/** `tsvswitch snippet`: the options of a frontend for a port, ready to be copied. */

import { type Command, Option } from 'commander';
import type { MachinePortStatus } from '../../control/protocol.ts';
import { failure } from '../../model/errors.ts';
import { asking } from './asking.ts';
import { stateText } from './views.ts';

interface Place {
  readonly path: string;
  /** The machine listens, and the switch connects. */
  readonly isServer: boolean;
  readonly mac: string;
}

/** As docs/attach.md explains them, which tests run. */
const frontends: Readonly<Record<string, (place: Place) => string>> = {
  qemu: ({ path, isServer, mac }) =>
    [
      '-object memory-backend-memfd,id=mem,size=1G,share=on -machine q35,memory-backend=mem',
      `-chardev socket,id=port1,path=${path.replaceAll(',', ',,')}${isServer ? ',server=on' : ''}`,
      '-netdev vhost-user,id=net1,chardev=port1',
      `-device virtio-net-pci,netdev=net1,mac=${mac}`,
    ].join(' \\\n'),
  libvirt: ({ path, isServer, mac }) =>
    [
      '<memoryBacking>',
      "  <source type='memfd'/>",
      "  <access mode='shared'/>",
      '</memoryBacking>',
      '<devices>',
      "  <interface type='vhostuser'>",
      `    <mac address='${mac}'/>`,
      `    <source type='unix' path='${xml(path)}' mode='${isServer ? 'server' : 'client'}'/>`,
      "    <model type='virtio'/>",
      '  </interface>',
      '</devices>',
    ].join('\n'),
  'cloud-hypervisor': ({ path, isServer, mac }) =>
    '--memory size=1G,shared=on \\\n' +
    `--net vhost_user=on,socket=${path},mac=${mac}${isServer ? ',vhost_mode=server' : ''}`,
  testpmd: ({ path, isServer, mac }) =>
    `--vdev net_virtio_user0,path=${path},mac=${mac}${isServer ? ',server=1' : ''}`,
  uml: ({ path, isServer }) => {
    if (!isServer) return `mem=256M virtio_uml.device=${path}:1`;
    throw failure('uml-connects-only');
  },
};

/** Of a machine that says no other; the port binds none. */
const macDefault = '52:54:00:00:00:01';

export function addSnippet(program: Command): void {
  program
    .command('snippet <port>')
    .description('Prints the options that connect a machine to a port.')
    .addOption(
      new Option('--for <frontend>', 'whose options')
        .choices(Object.keys(frontends))
        .makeOptionMandatory(),
    )
    .action((name: string, options: { readonly for: string }, command: Command) =>
      asking(command, async (client) => {
        const port = await client.port(name);
        if (port.kind !== 'vhost-user') {
          const kind = stateText(port);
          throw failure('snippet-of-kind', { port: name, kind });
        }
        const { source } = (await client.settings()).ports[name] ?? {};
        const place = { ...placeOf(port), mac: source?.macs[0] ?? port.macs[0] ?? macDefault };
        process.stdout.write(`${frontends[options.for]!(place)}\n`);
      }),
    );
}

function placeOf({ path, listener }: MachinePortStatus): Omit<Place, 'mac'> {
  return { path, isServer: listener === 'machine' };
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll("'", '&apos;').replaceAll('<', '&lt;');
}
