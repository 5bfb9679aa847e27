/**
 * What a port can be made of: a row of the table in kinds.ts, and what the switch asks of each.
 *
 *     settings --prepare()--> sockets in hand --open(place)--> port --change()--> the same port
 *
 * What can be missing on a machine (a folder, a user, a socket that somebody else has) shows while
 * a port is prepared, when nothing of the switch has been touched.
 *
 * A kind is a schema (model/settings-schema.ts), a folder beside this file and a row. Which of its
 * settings cannot be changed while it is open says model/difference.ts, since that is asked before
 * there is a port; which options of the command line make one says cli/port-argument.ts, since
 * reading them loads no switch.
 */

import type { PortKindName, SettingsOf } from '../model/settings.ts';
import type { BridgeId, Port, PortEvent } from './port.ts';

/** Where a port is: made by the switch, which keeps it true while the port is open. */
export interface PortPlace {
  readonly name: string;
  /** The one that the port is on now. */
  readonly bridge: BridgeId;
  /** Nothing goes through it. */
  readonly isDown: boolean;
  readonly onEvent: (event: PortEvent) => void;
  /** Passes on everything that the data plane has to report, of this port too. */
  readonly deliverReports: () => void;
}

/** The socket of a port that has gone, for one that takes its place: nobody finds it missing. */
export interface KeptSocket {
  readonly kind: PortKindName;
  readonly path: string;
  /** Removes it. */
  close(): void;
}

/** What a port needs of the machine, in hand. */
export interface PreparedPort<Opened extends Port> {
  /**
   * In the place of `kept`, if that is given. Throws TOO_MANY_PORTS and, of a socket that was left
   * for later, what preparing one throws; all is given back then.
   */
  open(place: PortPlace, kept?: KeptSocket): Opened;
  /** Gives all back, instead of open(). */
  discard(): void;
}

/** One kind of port. */
export interface PortKind<Kind extends PortKindName, Opened extends Port> {
  readonly kind: Kind;
  /** Of the file that a port of these settings makes. */
  socketPath(settings: SettingsOf<Kind>): string | undefined;
  /**
   * Looks for everything that the port needs and takes its socket, unless that is for `later`: it
   * is that of a port which is still there. Throws the SOCKET_* codes of model/errors.ts,
   * BAD_OPTION and SYSTEM, and has then left nothing behind.
   */
  prepare(settings: SettingsOf<Kind>, socket: 'now' | 'later'): PreparedPort<Opened>;
  /**
   * What makes one of the kind's own settings of an open port as in `to`, but for those that need
   * another port. Throws as prepare() does, having changed nothing; what it returns may throw too.
   */
  change(port: Opened, from: SettingsOf<Kind>, to: SettingsOf<Kind>): () => void;
  /** Closes a port, but for its socket. */
  release(port: Opened): KeptSocket | undefined;
}
