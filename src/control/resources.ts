/**
 * What every operation does: reads the switch or changes it, and says what to answer.
 *
 * Answers are made from memory in one turn, but for a reload. What goes on, events and captures, is
 * handed the response and ends by itself.
 */

import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Bridge, ListenOptions, Switch, SwitchPort } from '../index.ts';
import { failure } from '../model/errors.ts';
import type { LogLevel } from '../model/log-levels.ts';
import { version } from '../runtime/version.ts';
import { History } from '../switch/history.ts';
import { type BodyOf, bodySchemas, type Taking } from './bodies.ts';
import { EventFeed } from './event-feed.ts';
import { newPortOf } from './new-port.ts';
import type { OperationId } from './operations.ts';
import type {
  BridgeStatus,
  ConfigStatus,
  LearnedAddress,
  MachinePortStatus,
  Operations,
  PortStatus,
  Reload,
  Stopping,
  SwitchStatus,
  Upgraded,
} from './protocol.ts';
import { checkMatch, tagOf } from './tag.ts';

/** A request that was found to make sense. */
export interface Asked<Id extends OperationId> {
  /** Of the resource; empty where the operation has none. */
  readonly name: string;
  readonly flags: readonly string[];
  readonly body: Id extends Taking ? BodyOf<Id> : undefined;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The body of an answer; `goes on` if it writes the response itself. */
type AnswerOf<Id extends OperationId> = Operations[Id] extends { answer: infer Answer }
  ? Answer
  : 'goes on';

type Handlers = {
  readonly [Id in OperationId]: (asked: Asked<Id>) => AnswerOf<Id> | Promise<AnswerOf<Id>>;
};

/** The file of a switch that one declares. */
export interface DeclaredSwitch extends ConfigStatus {
  /** Throws why nothing was changed. */
  readonly reload: (options: ReloadOptions) => Promise<Reload>;
}

/** How the file of a switch is read again. */
export interface ReloadOptions {
  /** Only tells. */
  readonly dryRun?: boolean;
  /** What was changed at run time is undone. */
  readonly discard?: boolean;
}

/** A switch that a new process can take over. */
export interface Upgradable {
  /** Throws why none has; then all is as it was. */
  readonly run: () => Promise<Upgraded>;
  /** Whoever asked was told that it was done: this process is to end. */
  readonly end: () => void;
}

/** The process that a switch is, with its log. */
export interface SwitchProcess {
  logLevel: LogLevel;
  /** Whoever asked was told that it will: it is to end in order. */
  readonly stop: () => void;
}

/** More than anybody looks at; each has the workers copy every frame once more. */
const capturesMax = 16;
const milliseconds = 1000;

export interface ResourceOptions {
  /** Permissions of the ports' sockets that are added without any. */
  readonly portSockets: ListenOptions;
  readonly declared: DeclaredSwitch | undefined;
  readonly upgrade: Upgradable | undefined;
  readonly process: SwitchProcess | undefined;
  readonly onUnexpected: (error: unknown, what: string) => void;
}

export class Resources {
  readonly #switch: Switch;
  readonly #history: History;
  readonly #events: EventFeed;
  readonly #onUnexpected: (error: unknown, what: string) => void;
  readonly #openedAtMs = performance.now();
  readonly #handlers: Handlers;
  #captures = 0;

  constructor(vswitch: Switch, options: ResourceOptions) {
    const { portSockets, declared, upgrade, process, onUnexpected } = options;
    this.#switch = vswitch;
    this.#onUnexpected = onUnexpected;
    this.#history = new History(vswitch);
    this.#events = new EventFeed(vswitch);
    this.#handlers = {
      getStatus: () => this.#status(),
      listPorts: () => this.#portStatuses(vswitch.ports),
      addPort: ({ body }) => {
        const port = vswitch.addPort(newPortOf(body, portSockets));
        return this.#portStatuses([port])[0] as MachinePortStatus;
      },
      getPort: ({ name }) => this.#portStatuses([this.#portNamed(name)])[0]!,
      removePort: ({ name }) => vswitch.removePort(this.#portNamed(name)) as undefined,
      listBridges: () => vswitch.bridges.map((bridge) => this.#bridgeStatus(bridge)),
      getBridge: ({ name }) => this.#bridgeStatus(this.#bridgeNamed(name)),
      flushBridge: ({ name }) => this.#bridgeNamed(name).flush() as undefined,
      listAddresses: () => this.#addresses(),
      listFlows: () => vswitch.flows(),
      listWorkers: () => vswitch.workers,
      addWorker: ({ body }) => vswitch.addWorker(body),
      getSettings: ({ response }) => {
        const { settings } = vswitch;
        response.setHeader('etag', tagOf(settings));
        return settings;
      },
      applySettings: ({ body, flags, request }) => {
        checkMatch(request.headers['if-match'], () => vswitch.settings);
        return flags.includes('dry-run') ? vswitch.plan(body) : vswitch.apply(body);
      },
      getConfig: () => {
        const { file, settings } = declaredOf(declared);
        return { file, settings };
      },
      reload: ({ flags }) => {
        const [dryRun, discard] = [flags.includes('dry-run'), flags.includes('discard')];
        return declaredOf(declared).reload({ dryRun, discard });
      },
      upgrade: ({ response }) => upgraded(upgrade, response),
      stop: ({ response }) => stopping(processOf(process), response),
      getLog: () => ({ level: processOf(process).logLevel }),
      setLog: ({ body: { level } }) => {
        processOf(process).logLevel = level;
        return { level };
      },
      changeNetwork: ({ body }) => vswitch.change(body) as undefined,
      readEvents: ({ request, response }) => {
        this.#events.add(request, response);
        return 'goes on';
      },
      captureBridge: ({ response }) => this.#capture(response, undefined),
      capturePort: ({ name, response }) => this.#capture(response, this.#portNamed(name)),
      getOpenApi: () => JSON.parse(readFileSync(bodySchemas.schema, 'utf8')),
    };
  }

  answer<Id extends OperationId>(id: Id, asked: Asked<Id>): AnswerOf<Id> | Promise<AnswerOf<Id>> {
    return this.#handlers[id](asked);
  }

  close(): void {
    this.#events.close();
    this.#history.close();
  }

  #status(): SwitchStatus {
    return {
      version,
      pid: process.pid,
      uptimeSeconds: Math.floor((performance.now() - this.#openedAtMs) / milliseconds),
      workers: this.#switch.workers,
      ports: this.#portStatuses(this.#switch.ports),
    };
  }

  #portStatuses(ports: readonly SwitchPort[]): PortStatus[] {
    const macsOf = new Map<string, string[]>(ports.map(({ name }) => [name, []]));
    for (const { port, mac, fixed } of this.#addresses()) {
      if (!fixed) macsOf.get(port)?.push(mac);
    }
    return ports.map((port) => {
      const { name, kind, bridge } = port;
      const also = { macs: macsOf.get(name)!, ...(port.isDown && { down: true as const }) };
      if (kind !== 'vhost-user') return { name, kind, bridge, counters: port.counters, ...also };
      const { status } = port;
      return { ...status, ...this.#history.of(port, status.counters), ...also };
    });
  }

  #bridgeStatus({ name, fdbSize }: Bridge): BridgeStatus {
    const ports = this.#switch.ports.filter(({ bridge }) => bridge === name);
    return { name, ports: ports.map((port) => port.name), addresses: fdbSize };
  }

  #addresses(): LearnedAddress[] {
    return this.#switch.bridges.flatMap(({ name, fdb }) =>
      fdb.map((record) => ({ ...record, bridge: name })),
    );
  }

  #portNamed(name: string): SwitchPort {
    const port = this.#switch.port(name);
    if (port !== undefined) return port;
    throw failure('port-unknown-of', { port: name, names: namesOf(this.#switch.ports) });
  }

  #bridgeNamed(name: string): Bridge {
    const bridge = this.#switch.bridges.find((candidate) => candidate.name === name);
    if (bridge !== undefined) return bridge;
    throw failure('bridge-unknown-of', { bridge: name, names: namesOf(this.#switch.bridges) });
  }

  /**
   * Of a port, or all of the default bridge, until the client closes its side of the connection. A
   * file of the switch's would have to be somebody's, somewhere, and ended by somebody; an answer
   * that goes on is none.
   */
  #capture(response: ServerResponse, port: SwitchPort | undefined): 'goes on' {
    const { socket } = response;
    // The client has left.
    if (socket === null || socket.destroyed) return 'goes on';
    if (this.#captures >= capturesMax) {
      throw failure('captures-too-many', { max: capturesMax });
    }
    response.setHeader('content-type', 'application/x-pcapng');
    const capture = this.#switch.capture({ ...(port && { port }), to: response });
    this.#captures++;
    response.once('close', () => this.#captures--);
    const end = () => {
      try {
        capture.close();
      } catch (error) {
        this.#onUnexpected(error, 'a capture');
      }
    };
    // Before node:http closes the connection for it: the client gets the last packets to their end.
    socket.prependOnceListener('end', end);
    if (socket.readableEnded) end();
    return 'goes on';
  }
}

function declaredOf(declared: DeclaredSwitch | undefined): DeclaredSwitch {
  if (declared !== undefined) return declared;
  throw failure('config-none');
}

async function upgraded(
  upgrade: Upgradable | undefined,
  response: ServerResponse,
): Promise<Upgraded> {
  if (upgrade === undefined) throw failure('upgrade-nowhere');
  const done = await upgrade.run();
  if (response.destroyed) upgrade.end();
  else response.once('close', () => upgrade.end());
  return done;
}

function processOf(process: SwitchProcess | undefined): SwitchProcess {
  if (process !== undefined) return process;
  throw failure('switch-embedded');
}

function stopping({ stop }: SwitchProcess, response: ServerResponse): Stopping {
  if (response.destroyed) stop();
  else response.once('close', stop);
  return { pid: process.pid };
}

/** Those that there are, in a sentence. */
function namesOf(all: readonly { readonly name: string }[]): string {
  return all.length === 0 ? 'none' : all.map((one) => one.name).join(', ');
}
