/**
 * Tells a service manager how the service is, over its datagram socket (sd_notify), and gives it
 * fds to keep.
 *
 * The socket is made at the start, so that it is there whatever the process may do later. Nothing
 * here waits: while the manager reads slower than it is told, what has to arrive waits in order, a
 * sign of life is left out, and of several statuses the last is told.
 *
 * Runs on the event loop's thread. Sources: sd_notify(3), systemd's "File Descriptor Store".
 */

import { constants } from 'node:os';
import { failure } from '../../model/errors.ts';
import { printable } from '../../model/wording.ts';
import { native } from '../../native/addon.ts';

interface Message {
  readonly text: string;
  readonly kind: 'state' | 'status' | 'sign of life' | 'fd';
  /** This object's own. */
  readonly fd?: number;
}

/** How long a full socket is left alone. */
const retryMs = 10;
/** More than a switch has ports: a manager that reads none for so long is told the rest no more. */
const waitingMax = 4096;
/** Of a name that fds are stored under, and of which characters it may be. */
const fdNameCharactersMax = 255;
const microsecond = 1000n;
/** Of a manager that has gone, whose socket was made anew or not. */
const goneErrnos = [constants.errno.ECONNREFUSED, constants.errno.ENOTCONN];

export class Notifier {
  readonly #name: string;
  #socket: number | undefined;
  #waiting: Message[] = [];
  #retry: NodeJS.Timeout | undefined;
  #isHeld = false;

  private constructor(name: string, socket: number) {
    this.#name = name;
    this.#socket = socket;
  }

  /** `name` is NOTIFY_SOCKET. Throws SYSTEM with a sentence that names it. */
  static connect(name: string): Notifier {
    try {
      return new Notifier(name, native().notifyConnect(name));
    } catch (cause) {
      throw failure('notify-socket-failed', { cause: (cause as Error).message }, { cause });
    }
  }

  /** Tells nothing until release(). */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#sendWaiting();
  }

  /** Another process is the service. */
  mainPid(pid: number): void {
    this.#tell({ kind: 'state', text: `MAINPID=${pid}` });
  }

  /** The start, or a reload, is done. */
  ready(status: string): void {
    this.#tell({ kind: 'state', text: `READY=1\n${statusLine(status)}` });
  }

  status(status: string): void {
    this.#waiting = this.#waiting.filter(({ kind }) => kind !== 'status');
    this.#tell({ kind: 'status', text: statusLine(status) });
  }

  /** Call ready() once it is done. */
  reloading(): void {
    // hrtime is CLOCK_MONOTONIC, which is what is asked for.
    const nowUs = process.hrtime.bigint() / microsecond;
    this.#tell({ kind: 'state', text: `RELOADING=1\nMONOTONIC_USEC=${nowUs}` });
  }

  stopping(): void {
    this.#tell({ kind: 'state', text: 'STOPPING=1' });
  }

  /** The sign of life that the watchdog waits for. */
  alive(): void {
    if (this.#waiting.length === 0) this.#tell({ kind: 'sign of life', text: 'WATCHDOG=1' });
  }

  /**
   * Has the manager keep `fd`, still the caller's, and give it to the next process of this service
   * under `name`; one that says it is hung up is kept no longer. A name that cannot be one is not
   * kept.
   */
  store(name: string, fd: number): void {
    if (!isFdName(name)) return;
    const text = `FDSTORE=1\nFDNAME=${name}`;
    this.#tell({ kind: 'fd', text, fd: native().dupFd(fd) });
  }

  /** All that was kept under `name` is kept no longer. */
  forget(name: string): void {
    if (isFdName(name)) this.#tell({ kind: 'state', text: `FDSTOREREMOVE=1\nFDNAME=${name}` });
  }

  /** Idempotent. What still waits is not told. */
  close(): void {
    clearTimeout(this.#retry);
    for (const { fd } of this.#waiting) if (fd !== undefined) native().closeFd(fd);
    this.#waiting = [];
    if (this.#socket !== undefined) native().closeFd(this.#socket);
    this.#socket = undefined;
  }

  #tell(message: Message): void {
    if (this.#waiting.length < waitingMax) this.#waiting.push(message);
    else if (message.fd !== undefined) native().closeFd(message.fd);
    this.#sendWaiting();
  }

  #sendWaiting(): void {
    clearTimeout(this.#retry);
    while (!this.#isHeld) {
      const [message] = this.#waiting;
      if (message === undefined) return;
      if (!this.#send(message)) {
        if (message.kind === 'sign of life') this.#waiting.shift();
        else this.#retry = setTimeout(() => this.#sendWaiting(), retryMs).unref();
        return;
      }
      this.#waiting.shift();
      if (message.fd !== undefined) native().closeFd(message.fd);
    }
  }

  /** False if it has to be sent later. A manager that has gone learns nothing. */
  #send({ text, fd }: Message): boolean {
    if (this.#socket === undefined) return true;
    const bytes = Buffer.from(text);
    const fds = fd === undefined ? [] : [fd];
    try {
      return native().socketSend(this.#socket, bytes, fds) > 0;
    } catch (error) {
      const { errno = 0 } = (error as { cause?: { errno?: number } }).cause ?? {};
      return !(goneErrnos.includes(-errno) && this.#reconnects());
    }
  }

  /** A manager that runs anew may have made its socket anew. */
  #reconnects(): boolean {
    try {
      const socket = native().notifyConnect(this.#name);
      native().closeFd(this.#socket!);
      this.#socket = socket;
      return true;
    } catch {
      return false;
    }
  }
}

function statusLine(status: string): string {
  return `STATUS=${printable(status)}`;
}

/** ASCII but for control characters and colons, which separate names. */
function isFdName(name: string): boolean {
  return /^[ -9;-~]+$/.test(name) && name.length <= fdNameCharactersMax;
}
