/** The metrics of a switch, served to Prometheus. */

import type { Switch } from '../../index.ts';
import { tcpAddressOf } from '../../model/tcp-address.ts';
import { exposition } from './exposition.ts';
import { families } from './families.ts';
import { MetricsListener } from './listener.ts';
import { Sessions } from './sessions.ts';

export class Metrics {
  readonly #listener: MetricsListener;

  private constructor(listener: MetricsListener) {
    this.#listener = listener;
  }

  /** Throws BAD_OPTION, and SYSTEM if the address cannot be listened on. */
  static async listen(address: string): Promise<Metrics> {
    return new Metrics(await MetricsListener.listen(tcpAddressOf(address, 'metrics-address')));
  }

  /** With the socket of another process, whose copy `fd` is. */
  static async adopt(fd: number): Promise<Metrics> {
    return new Metrics(await MetricsListener.adopt(fd));
  }

  copySocket(): number {
    return this.#listener.copySocket();
  }

  get port(): number {
    return this.#listener.port;
  }

  serve(vswitch: Switch): void {
    const sessions = new Sessions(vswitch);
    this.#listener.serve(() => exposition(families, vswitch, sessions));
  }

  close(): void {
    this.#listener.close();
  }
}
