/** Ports of machines, over vhost-user, as a kind. */

import { parseCardMac } from '../../model/mac.ts';
import type { VhostUserSettings } from '../../model/settings.ts';
import { FdListener, type ListenOptions } from '../../native/fd-socket.ts';
import type { PortKind } from '../kind.ts';
import { modeOf, reachable } from '../socket-path.ts';
import { AllowList } from './allow.ts';
import { ConnectingSource } from './connecting.ts';
import type { FrontendSource } from './frontend-source.ts';
import { ListeningSource } from './listening.ts';
import { VhostUserPort } from './vhost-user-port.ts';

export const vhostUserKind: PortKind<'vhost-user', VhostUserPort> = {
  kind: 'vhost-user',
  socketPath: ({ path }) => path,

  prepare(settings, socket) {
    const allow = allowListOf(settings);
    const access = accessOf(settings);
    const listen = (path: string) => ListeningSource.listen(path, access);
    let source = sourceOf(settings, socket === 'now' ? listen : checkLater(access));
    return {
      open(place, kept) {
        if (kept instanceof ListeningSource) {
          source = kept;
          kept.takeOver(access);
        }
        source ??= listen(reachable(settings.path!));
        return new VhostUserPort(place, source, { ...settings, allow, macs: macsOf(settings) });
      },
      discard: () => source?.close(),
    };
  },

  change(port, from, to) {
    const allow = allowListOf(to);
    const [before, after] = [from, to].map(accessOf) as [ListenOptions, ListenOptions];
    const isAnother = before.mode !== after.mode || before.group !== after.group;
    const setAccess = isAnother ? port.prepareAccess(after) : () => {};
    return () => {
      setAccess();
      port.setTerms({ allow, macs: macsOf(to), mtu: to.mtu });
    };
  },

  release: (port) => port.release(),
};

function sourceOf(
  { path, connect }: VhostUserSettings,
  listen: (path: string) => ListeningSource | undefined,
): FrontendSource | undefined {
  return connect === undefined
    ? listen(reachable(path!))
    : new ConnectingSource(reachable(connect));
}

/** A group that is not there is found now all the same. */
function checkLater(access: ListenOptions): (path: string) => undefined {
  return (path) => {
    FdListener.checkAccess(path, access);
  };
}

function accessOf({ mode, group }: VhostUserSettings): ListenOptions {
  return { mode: modeOf(mode), ...(group === undefined ? {} : { group }) };
}

function allowListOf({ allow, connect, path }: VhostUserSettings): AllowList | undefined {
  return allow === undefined ? undefined : new AllowList(`socket ${connect ?? path}`, allow);
}

/** The first is the guest's own. */
function macsOf({ source }: VhostUserSettings): number[] {
  return (source?.macs ?? []).flatMap((mac) => parseCardMac(mac) ?? []);
}
