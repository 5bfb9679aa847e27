/**
 * Two guests that have nothing to do with what a test does to a third one: they pass numbered
 * frames to and fro all along, and every one has to arrive, whole and in its turn.
 */

import { expect } from 'vitest';
import type { TestGuest } from '../../src/testing/index.ts';
import { destinationOf, ethernetFrame, macOf } from './ethernet.ts';
import { expectDelivery, SwitchNetwork } from './network.ts';

class Bystanders {
  readonly #ended: Promise<void>;
  #exchanges = 0;
  #stopping = false;

  private constructor(one: TestGuest, other: TestGuest) {
    this.#ended = this.#run(one, other);
    // Whoever stops them learns of a failure; until then it is nobody's unhandled rejection.
    this.#ended.catch(() => {});
  }

  static start(one: TestGuest, other: TestGuest): Bystanders {
    return new Bystanders(one, other);
  }

  /** Returns after `count` more exchanges have succeeded: the switch still works for others. */
  async goOn(count = 20): Promise<void> {
    const goal = this.#exchanges + count;
    while (this.#exchanges < goal) {
      if (this.#stopping) throw new Error('the bystanders were stopped');
      await Promise.race([this.#ended, new Promise(setImmediate)]);
    }
  }

  /** Throws if a frame was lost, repeated or damaged. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#ended;
  }

  async #run(one: TestGuest, other: TestGuest): Promise<void> {
    const [oneMac, otherMac] = [macOf(0xb1), macOf(0xb2)];
    while (!this.#stopping) {
      const number = this.#exchanges;
      await pass(one, other, ethernetFrame({ from: oneMac, to: otherMac, number }));
      await pass(
        other,
        one,
        ethernetFrame({ from: otherMac, to: oneMac, number, lengthBytes: 1514 }),
      );
      this.#exchanges++;
    }
  }
}

async function pass(from: TestGuest, to: TestGuest, frame: Uint8Array): Promise<void> {
  await from.send(frame);
  let received: Uint8Array;
  // What others flood is not the bystanders' business; a lost frame of theirs ends in a timeout.
  do received = await to.receive();
  while (destinationOf(received) !== destinationOf(frame));
  expect(Buffer.compare(received, frame)).toBe(0);
}

/**
 * Ports of a neighbourhood: the guest that misbehaves, one that talks to it, and the bystanders'.
 */
export const victimPort = 0;
export const peerPort = 1;

export const toVictim = (number: number) =>
  ethernetFrame({ from: macOf(peerPort), to: macOf(victimPort), number });
export const fromVictim = (number: number) =>
  ethernetFrame({ from: macOf(victimPort), to: macOf(peerPort), number });

/** A switch with a port to misbehave on, a peer for whoever is there, and bystanders. */
export class Neighbourhood {
  readonly network: SwitchNetwork;
  readonly peer: TestGuest;
  readonly #bystanders: Bystanders;

  private constructor(network: SwitchNetwork, peer: TestGuest, bystanders: Bystanders) {
    this.network = network;
    this.peer = peer;
    this.#bystanders = bystanders;
  }

  static async open(): Promise<Neighbourhood> {
    const network = SwitchNetwork.open(4);
    const bystanders = Bystanders.start(await network.connect(2), await network.connect(3));
    // Once the switch knows them, nothing of theirs is flooded to the guests that come now.
    await bystanders.goOn();
    return new Neighbourhood(network, await network.connect(peerPort), bystanders);
  }

  /** Frames both ways between a guest on the victim's port and the peer. */
  async expectHealthy(guest: TestGuest): Promise<void> {
    await expectDelivery(guest, this.peer, [fromVictim(1), fromVictim(2)]);
    await expectDelivery(this.peer, guest, [toVictim(3), toVictim(4)]);
  }

  /** Throws if the bystanders have noticed anything. */
  async close(): Promise<void> {
    try {
      await this.#bystanders.goOn();
      await this.#bystanders.stop();
    } finally {
      await this.network.close();
    }
  }
}
