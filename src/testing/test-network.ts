/**
 * A network for one test: a switch in this process, guests and real machines on it, and everything
 * gone afterwards, whatever the test has left behind. The glue for test runners (vitest.ts,
 * node-test.ts) opens one for every test.
 *
 * Guests are on ports of the switch whose sockets lie in a folder of the network's own. Machines
 * are a lab attached to the switch: processes of their own, with the ports and the life that labs
 * give them. What only machines need is loaded with the first of them.
 */

import '../runtime/dispose.ts';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlServer } from '../control/index.ts';
import { Switch, type SwitchOptions } from '../index.ts';
import type { ChangeOptions, Lab, LabDefinition } from '../lab/lab.ts';
import { shortTemporaryFolder } from '../machine/short-folder.ts';
import { emptyLayout, u64Layout } from '../vhost-user/message.ts';
import { TestGuest } from './guest.ts';
import type { TestGuestOptions } from './guest-options.ts';

/** A guest of a TestNetwork, and where it is. */
export interface NetworkGuestOptions extends Omit<TestGuestOptions, 'path'> {
  /** Of its port, unique on the switch; `guest1` and so on unless given. */
  readonly name?: string;
  /** The bridge its port is on; `default` unless given. */
  readonly bridge?: string;
}

/** A switch of its own for one test, with guests and machines; its methods may be passed around. */
export class TestNetwork {
  /** The switch, closed with the network. */
  readonly vswitch: Switch;
  readonly #folder: string;
  readonly #guests: TestGuest[] = [];
  readonly #labs: Lab[] = [];
  #control: ControlServer | undefined;
  #sockets = 0;
  #closed: Promise<void> | undefined;

  private constructor(options: SwitchOptions) {
    this.vswitch = Switch.open(options);
    this.#folder = shortTemporaryFolder('control.sock');
  }

  /** Throws what Switch.open() throws. */
  static open(options: SwitchOptions = {}): TestNetwork {
    return new TestNetwork(options);
  }

  /**
   * Adds a port and connects a guest to it, which is served when this resolves: frames sent to it
   * arrive. Throws what Switch.addPort() and TestGuest.connect() throw.
   */
  readonly guest = async (options: NetworkGuestOptions = {}): Promise<TestGuest> => {
    const number = ++this.#sockets;
    const { name = `guest${number}`, bridge, ...rest } = options;
    const path = join(this.#folder, `${number}.sock`);
    this.vswitch.addPort({ path, name, ...(bridge === undefined ? {} : { bridge }) });
    const guest = await TestGuest.connect({ path, ...rest });
    this.#guests.push(guest);
    // Not every request is acknowledged; the answer to a last one says that all were served.
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    return guest;
  };

  /**
   * Boots machines on the switch and returns their lab when all are ready, which takes seconds. The
   * port of machine `vm1` is called `${lab.plan.id}-vm1`. Throws what Lab.open() and Lab.up()
   * throw.
   */
  readonly lab = async (
    machines: LabDefinition['machines'],
    options: ChangeOptions = {},
  ): Promise<Lab> => {
    const [{ ControlServer }, { Lab }] = await Promise.all([
      import('../control/index.ts'),
      import('../lab/lab.ts'),
    ]);
    const attach = join(this.#folder, 'control.sock');
    this.#control ??= ControlServer.listen(this.vswitch, { path: attach });
    const lab = await Lab.open({ switch: { attach }, machines });
    this.#labs.push(lab);
    await lab.up(options);
    return lab;
  };

  /** Ends machines and guests, closes the switch, removes the folder. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** As close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    try {
      for (const lab of this.#labs) await lab.down({ destroy: true });
    } finally {
      for (const guest of this.#guests) await guest.close();
      this.#control?.close();
      this.vswitch.close();
      rmSync(this.#folder, { recursive: true });
    }
  }
}
