/**
 * The public API of tsvswitch/control, which talks to a switch that runs: re-exports only.
 *
 * @module tsvswitch/control
 */

import { ControlClient } from './client.ts';

export { ControlClient, RefusedError } from './client.ts';
export { defaultControlPath } from './default-path.ts';
export type { Diagnosis, Finding } from './doctor/diagnosis.ts';
export { examine } from './doctor/examine.ts';
export type * from './protocol.ts';
export type { DeclaredSwitch, ReloadOptions, SwitchProcess, Upgradable } from './resources.ts';
export { type ControlOptions, ControlServer } from './server.ts';
export type { Credentials } from './server-address.ts';
export type { Tokens } from './tcp/gate.ts';
export { TcpListener, type TcpOptions, type TlsFiles } from './tcp/listener.ts';
export { tokenIn } from './tcp/token-file.ts';
export type { UnixAccess } from './unix-door.ts';

/** As ControlClient.connect(). */
export const connect = ControlClient.connect;
