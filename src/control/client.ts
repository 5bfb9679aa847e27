/**
 * Talks to a running switch over its control socket (protocol.ts): every method is one request.
 *
 *     const control = await ControlClient.connect('/run/tsvswitch/control.sock');
 *     await control.addPort({ path: '/run/vsw/03.sock' });
 *
 * A refusal is a RefusedError with the switch's own code and sentence. The connection is kept
 * between requests and keeps no process alive by itself. server-address.ts says where a switch may
 * be.
 */

import { TsvswitchError } from '../model/errors.ts';
import '../runtime/dispose.ts';
import type { Agent, IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type {
  Change,
  EventsLost,
  Finding,
  Flow,
  NetworkChange,
  SwitchEvent,
  SwitchSettings,
  WorkerOptions,
  WorkerStatus,
  WrittenSettings,
} from '../index.ts';
import { SettingsError } from '../model/settings-error.ts';
import { type OperationId, operations } from './operations.ts';
import type {
  BridgeStatus,
  ConfigStatus,
  LearnedAddress,
  LogStatus,
  MachinePortStatus,
  NamedNetworkChange,
  NewPort,
  Operations,
  PortStatus,
  Refused,
  Reload,
  Stopping,
  SwitchStatus,
  Upgraded,
} from './protocol.ts';
import { type Credentials, type ServerAddress, serverAddress } from './server-address.ts';

/** The switch answers from memory; whatever takes longer hangs. */
const answerLimitMs = 5000;
/** A new process starts meanwhile. */
const upgradeLimitMs = 60_000;
/** HTTP status codes from here on say that the request was not served. */
const firstRefusal = 400;

/** What a request is about. */
interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly agent: Agent;
  readonly limitMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

interface Asked {
  readonly name?: string;
  readonly body?: object;
  readonly flags?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** An operation with an answer that ends. */
type Answered = {
  [Id in OperationId]: Operations[Id] extends { answer: unknown } ? Id : never;
}[OperationId];

/** What a switch did not do, with its own code and sentence. */
export class RefusedError extends TsvswitchError {
  /** Every field of what was asked that does not fit, if that is why. */
  readonly findings: readonly Finding[];

  constructor({ code, error, findings = [], ...details }: Refused) {
    super(code, error, details);
    this.findings = findings;
  }
}

/**
 * A switch that runs, over its control socket. A refusal is a RefusedError with the switch's own
 * code.
 */
export class ControlClient {
  /** As it was given. */
  readonly path: string;
  readonly #server: ServerAddress;
  readonly #agent: Agent;

  private constructor(path: string, server: ServerAddress) {
    this.path = path;
    this.#server = server;
    this.#agent = server.newAgent({ keepAlive: true, maxSockets: 1 });
  }

  /**
   * `where` is the path of a control socket, or as `https://switch.example:9443` where a switch
   * takes requests over TCP, with `credentials` for that. Throws CONTROL_UNREACHABLE if no switch
   * answers there or none that can be trusted, SOCKET_PATH_TOO_LONG and BAD_OPTION if none can,
   * CONTROL_UNAUTHORIZED.
   */
  static async connect(where: string, credentials: Credentials = {}): Promise<ControlClient> {
    const client = new ControlClient(where, await serverAddress(where, credentials));
    try {
      // Of all that every switch answers, this is small however many ports it has.
      await client.workers();
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Whether the switch may run on another host, and paths of its ports be of that one. */
  get isRemote(): boolean {
    return this.#server.isRemote;
  }

  /** The switch and all of its ports, as they are now. */
  status(): Promise<SwitchStatus> {
    return this.#ask('getStatus');
  }

  /** All ports, as they are now. */
  ports(): Promise<readonly PortStatus[]> {
    return this.#ask('listPorts');
  }

  /** One port, as it is now. Throws NO_SUCH_PORT. */
  port(name: string): Promise<PortStatus> {
    return this.#ask('getPort', { name });
  }

  /** All bridges, with the names of their ports. */
  bridges(): Promise<readonly BridgeStatus[]> {
    return this.#ask('listBridges');
  }

  /** One bridge. Throws NO_SUCH_BRIDGE. */
  bridge(name: string): Promise<BridgeStatus> {
    return this.#ask('getBridge', { name });
  }

  /** Has a bridge forget what it has learned. Throws NO_SUCH_BRIDGE. */
  async flush(bridge: string): Promise<void> {
    await this.#ask('flushBridge', { name: bridge });
  }

  /** Every address that is known and not aged. */
  fdb(): Promise<readonly LearnedAddress[]> {
    return this.#ask('listAddresses');
  }

  /** What was delivered from port to port, the busiest pair first. */
  flows(): Promise<readonly Flow[]> {
    return this.#ask('listFlows');
  }

  /** All workers, in the order in which they were started. */
  workers(): Promise<readonly WorkerStatus[]> {
    return this.#ask('listWorkers');
  }

  /** All that is set, as one document that can be changed and applied. */
  settings(): Promise<SwitchSettings> {
    return this.#ask('getSettings');
  }

  /**
   * Returns what was changed once the switch is as the document says, or with `dryRun` what would
   * be. Throws what Switch.apply throws; of a document that does not fit, a SettingsError.
   */
  apply(settings: WrittenSettings, { dryRun = false } = {}): Promise<readonly Change[]> {
    return this.#ask('applySettings', { body: settings, flags: dryRun ? ['dry-run'] : [] });
  }

  /**
   * Changes the settings that are in force: `changed` gets a copy of its own, and what it throws is
   * thrown. Throws what apply() throws, and SETTINGS_CHANGED if somebody else changed them
   * meanwhile; then nothing was changed.
   */
  async edit(
    changed: (settings: SwitchSettings) => void | Promise<void>,
  ): Promise<readonly Change[]> {
    const response = await this.#send('getSettings', {}, this.#agent);
    const { etag } = response.headers;
    const settings = (await this.#bodyOf(response)) as SwitchSettings;
    await changed(settings);
    // A switch of an earlier version has none.
    const headers = etag === undefined ? {} : { 'if-match': etag };
    return this.#ask('applySettings', { body: settings, headers });
  }

  /** The file of the switch. Throws CONFIG_NONE if it has none. */
  config(): Promise<ConfigStatus> {
    return this.#ask('getConfig');
  }

  /**
   * Returns what was changed once the switch is as its file says, or with `dryRun` what would be;
   * with `discard`, what was changed at run time is undone, too. Throws CONFIG_NONE, RELOAD_BUSY,
   * CONFIG_UNREADABLE, CONFIG_INVALID, and what Switch.apply throws.
   */
  reload({ dryRun = false, discard = false } = {}): Promise<Reload> {
    const flags = [...(dryRun ? ['dry-run'] : []), ...(discard ? ['discard'] : [])];
    return this.#ask('reload', { flags });
  }

  /** What is logged. Throws CONTROL_EMBEDDED, as the next two. */
  log(): Promise<LogStatus> {
    return this.#ask('getLog');
  }

  /** Changes it from the next line on, until the file is read again or the switch is restarted. */
  setLog(log: LogStatus): Promise<LogStatus> {
    return this.#ask('setLog', { body: log });
  }

  /**
   * Ends the switch in order. Returns once it has: its workers, machines and sockets are gone. Its
   * process may still write the end of its log.
   */
  async stop(): Promise<Stopping> {
    // It stays open for as long as the switch does.
    const agent = this.#server.newAgent({ keepAlive: true });
    const response = await this.#send('stop', {}, agent);
    const { socket } = response;
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const answer = (await this.#bodyOf(response)) as Stopping;
    // The agent takes it for idle.
    socket.ref();
    if (!socket.destroyed) await ended;
    agent.destroy();
    return answer;
  }

  /** This API as an OpenAPI 3.1 document. */
  openApi(): Promise<object> {
    return this.#ask('getOpenApi');
  }

  /**
   * Returns once a new process of the installed version has taken over; ask it by another client.
   * Throws UPGRADE_BUSY, UPGRADE_FAILED; then the switch goes on as it was.
   */
  async upgrade(): Promise<Upgraded> {
    // On a connection of its own: one that breaks off is not to be asked for again.
    const response = await this.#send('upgrade', {}, this.#server.newAgent());
    return (await this.#bodyOf(response)) as Upgraded;
  }

  /** Returns once the port listens, or tries to connect. Throws what Switch.addPort throws. */
  addPort(port: NewPort): Promise<MachinePortStatus> {
    return this.#ask('addPort', { body: port });
  }

  /** Throws NO_SUCH_PORT. */
  async removePort(name: string): Promise<void> {
    await this.#ask('removePort', { name });
  }

  /** Returns once links and partitions are as said. Throws what Switch.schedule throws. */
  async change(change: NetworkChange): Promise<void> {
    await this.#ask('changeNetwork', { body: change as NamedNetworkChange });
  }

  /** Returns once it polls its share of the queues. Throws what Switch.addWorker throws. */
  addWorker(worker: WorkerOptions = {}): Promise<WorkerStatus> {
    return this.#ask('addWorker', { body: worker });
  }

  /**
   * What happens on the switch from now on, until it ends or the caller has seen enough; what came
   * faster than it is told, or was read too late, is `events-lost`. Throws CONTROL_BUSY.
   */
  async *events(): AsyncGenerator<SwitchEvent | EventsLost> {
    // A connection of its own: this one is never free for another request.
    const response = await this.#send('readEvents', {}, this.#server.newAgent());
    // From now on silence means that nothing happens.
    response.setTimeout(0);
    try {
      for await (const line of createInterface({ input: response })) yield JSON.parse(line);
    } finally {
      response.destroy();
    }
  }

  /**
   * What goes over a port, or over all ports of bridge `default`, from now on, as the bytes of a
   * pcapng file, which is whole once `signal` has ended it. Throws NO_SUCH_PORT.
   */
  async capture(port?: string, signal?: AbortSignal): Promise<Readable> {
    const response =
      port === undefined
        ? await this.#send('captureBridge', {}, this.#server.newAgent())
        : await this.#send('capturePort', { name: port }, this.#server.newAgent());
    response.setTimeout(0);
    const stop = () => response.socket.end();
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
    return response;
  }

  /** Ends the connection. Idempotent. */
  close(): void {
    this.#agent.destroy();
  }

  /** As close(). */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #ask<Id extends Answered>(id: Id, asked: Asked = {}): Promise<Operations[Id]['answer']> {
    const response = await this.#send(id, asked, this.#agent);
    return (await this.#bodyOf(response)) as Operations[Id]['answer'];
  }

  /** The response to a request that was not refused. */
  async #send(id: OperationId, asked: Asked, agent: Agent): Promise<IncomingMessage> {
    const { name, body, flags = [], headers = {} } = asked;
    const { method, path: template } = operations[id];
    const place =
      name === undefined ? template : template.replace('{name}', () => encodeURIComponent(name));
    const path = flags.length === 0 ? place : `${place}?${flags.join('&')}`;
    const limitMs = id === 'upgrade' ? upgradeLimitMs : answerLimitMs;
    const response = await this.#exchange({ method, path, agent, limitMs, headers }, body);
    if (response.statusCode! < firstRefusal) return response;
    const refused: Partial<Refused> = { ...((await this.#bodyOf(response)) as Partial<Refused>) };
    const { code, error, findings } = refused;
    if (id === 'applySettings' && findings !== undefined) throw new SettingsError(findings);
    if (code !== undefined && error !== undefined) {
      throw new RefusedError({ ...refused, code, error });
    }
    throw this.#unreachable(new Error(`what is there answers ${response.statusCode} to ${path}`));
  }

  #exchange(asked: Exchange, body: unknown): Promise<IncomingMessage> {
    const { limitMs, ...head } = asked;
    return new Promise((resolve, reject) => {
      const outgoing = this.#server.request(head);
      outgoing.setTimeout(limitMs, () => outgoing.destroy(new Error('it does not answer')));
      outgoing.on('error', (cause: NodeJS.ErrnoException) => {
        // The switch closed the connection, which had been idle, before it read this: on a new one
        // it will.
        const wasIdle = outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(cause.code ?? '');
        if (wasIdle) resolve(this.#exchange(asked, body));
        else reject(this.#unreachable(cause));
      });
      outgoing.once('response', resolve);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** The JSON of a response; undefined if it is empty. */
  async #bodyOf(response: IncomingMessage): Promise<unknown> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
    } catch (cause) {
      throw this.#unreachable(cause as Error);
    }
  }

  #unreachable(cause: Error): TsvswitchError {
    return this.#server.unreachable(cause);
  }
}
