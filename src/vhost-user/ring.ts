/**
 * One ring as its frontend drives it: two independent facts, started and enabled, and a sticky
 * broken.
 *
 *     stopped --SET_VRING_KICK--> started --the guest misbehaves--> broken
 *        ^                           |                                 |
 *        +------ GET_VRING_BASE, device reset, end of session ---------+
 *
 * The specification lets a backend wait for the first kick before it starts the ring. We start at
 * SET_VRING_KICK: a driver that polls never kicks, and buffers may already lie in the ring.
 * Whether the ring is enabled is kept apart: QEMU enables rings long before it starts them, and a
 * stopped ring keeps the setting. A stopped ring forgets its addresses, so that one that is started
 * again with stale ones (the guest rebooted) is a refusal and not a write into somebody's memory.
 *
 * Sources: vhost-user "Ring states"; virtio 1.2 §2.7 (size and alignment of the parts).
 */

import type { RingAddresses } from '../native.ts';
import type { Backend } from './backend.ts';
import type { MemoryTable } from './memory.ts';
import { memoryRemedy, Refusal } from './refusal.ts';

export type RingState =
  /** What the frontend has said so far; a ring starts once nothing is undefined. */
  | {
      readonly kind: 'stopped';
      readonly base: number;
      readonly size: number | undefined;
      readonly addresses: RingAddresses | undefined;
    }
  | { readonly kind: 'started'; readonly size: number; readonly addresses: RingAddresses }
  | { readonly kind: 'broken'; readonly size: number; readonly reason: string };

export type RingEvent =
  | { readonly type: 'ring-started'; readonly queue: number; readonly size: number }
  | { readonly type: 'ring-stopped'; readonly queue: number; readonly base: number }
  | { readonly type: 'ring-broken'; readonly queue: number; readonly reason: string }
  | { readonly type: 'ring-enabled'; readonly queue: number }
  | { readonly type: 'ring-disabled'; readonly queue: number };

export const ringSizeMax = 32768;
const indexMax = 0xffff;

/** Alignment and length of each part of a split ring; length includes the event index fields. */
const parts = [
  { name: 'desc', alignBytes: 16n, lengthBytes: (size: bigint) => 16n * size },
  { name: 'avail', alignBytes: 2n, lengthBytes: (size: bigint) => 6n + 2n * size },
  { name: 'used', alignBytes: 4n, lengthBytes: (size: bigint) => 6n + 8n * size },
] as const;

export class Ring {
  readonly #queue: number;
  readonly #backend: Backend;
  readonly #memory: MemoryTable;
  readonly #emit: (event: RingEvent) => void;
  #state: RingState = { kind: 'stopped', base: 0, size: undefined, addresses: undefined };
  #enabled = false;
  #hasCall = false;
  #hasErr = false;

  constructor(
    queue: number,
    backend: Backend,
    memory: MemoryTable,
    emit: (event: RingEvent) => void,
  ) {
    this.#queue = queue;
    this.#backend = backend;
    this.#memory = memory;
    this.#emit = emit;
  }

  get state(): RingState {
    return this.#state;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  setSize(size: number): void {
    const state = this.#requireStopped();
    if (size < 1 || size > ringSizeMax) {
      throw new Refusal('BAD_VALUE', `size ${size} is not between 1 and ${ringSizeMax}`);
    }
    if ((size & (size - 1)) !== 0) {
      throw new Refusal('BAD_VALUE', `size ${size} is not a power of two`);
    }
    this.#state = { ...state, size };
  }

  setBase(base: number): void {
    const state = this.#requireStopped();
    if (base > indexMax) {
      throw new Refusal('BAD_VALUE', `base ${base} is not between 0 and ${indexMax}`);
    }
    this.#state = { ...state, base };
  }

  /** On a started ring this moves it, between two rounds of the data plane. */
  setAddresses(addresses: RingAddresses): void {
    for (const { name, alignBytes } of parts) {
      if (addresses[name] % alignBytes !== 0n) {
        throw new Refusal(
          'BAD_VALUE',
          `${name} address 0x${addresses[name].toString(16)} is not a multiple of ${alignBytes}`,
        );
      }
    }
    const state = this.#state;
    switch (state.kind) {
      case 'stopped':
        this.#state = { ...state, addresses };
        return;
      case 'started':
        this.#requireMapped(addresses, state.size);
        this.#backend.moveQueue(this.#queue, addresses);
        this.#state = { ...state, addresses };
        return;
      case 'broken':
        return;
    }
  }

  /**
   * SET_VRING_KICK. `takeKickFd` is called when nothing can go wrong any more, and gives -1 where
   * the frontend wants polling. A started ring goes on where it is, with the new eventfd; a broken
   * one stays broken.
   */
  start(takeKickFd: () => number): void {
    const state = this.#state;
    if (state.kind === 'broken') return;
    const { size, addresses } = state;
    if (size === undefined) {
      throw new Refusal('WRONG_ORDER', 'came before SET_VRING_NUM gave the ring a size');
    }
    if (addresses === undefined) {
      throw new Refusal('WRONG_ORDER', 'came before SET_VRING_ADDR said where the ring lies');
    }
    this.#requireMapped(addresses, size);
    const base = state.kind === 'started' ? this.stop() : state.base;
    this.#backend.startQueue(this.#queue, { ...addresses, size, base, kickFd: takeKickFd() });
    this.#state = { kind: 'started', size, addresses };
    this.#emit({ type: 'ring-started', queue: this.#queue, size });
  }

  /** Stops the ring if it runs; returns the next avail index, of a stopped ring too. */
  stop(): number {
    const state = this.#state;
    if (state.kind === 'stopped') return state.base;
    // The queue counts as stopped even if the backend throws: it is not to be stopped twice.
    this.#state = { kind: 'stopped', base: 0, size: state.size, addresses: undefined };
    const base = this.#backend.stopQueue(this.#queue);
    this.#state = { ...this.#state, base };
    this.#emit({ type: 'ring-stopped', queue: this.#queue, base });
    return base;
  }

  setEnabled(enabled: boolean): void {
    if (this.#enabled === enabled) return;
    this.#enabled = enabled;
    this.#backend.enableQueue(this.#queue, enabled);
    this.#emit({ type: enabled ? 'ring-enabled' : 'ring-disabled', queue: this.#queue });
  }

  /** Takes the call eventfd over; -1 takes the present one away. */
  setCall(fd: number): void {
    this.#hasCall = fd !== -1;
    this.#backend.setCall(this.#queue, fd);
  }

  setErr(fd: number): void {
    this.#hasErr = fd !== -1;
    this.#backend.setErr(this.#queue, fd);
  }

  /** The data plane gave the queue up because of what the guest wrote. */
  markBroken(reason: string): void {
    const state = this.#state;
    if (state.kind !== 'started') return;
    this.#state = { kind: 'broken', size: state.size, reason };
    this.#emit({ type: 'ring-broken', queue: this.#queue, reason });
  }

  /**
   * Back to the initial state, except for what frontends rely on afterwards: the eventfds, which
   * they do not send again, and the base. QEMU 7.2 resets the status before it asks for the base with
   * GET_VRING_BASE, also when a machine is only paused and goes on from there.
   */
  reset(): void {
    const base = this.stop();
    this.#state = { kind: 'stopped', base, size: undefined, addresses: undefined };
    this.setEnabled(false);
  }

  /** What is to be done at the end of a session, as steps that do not depend on each other. */
  shutDownSteps(): (() => void)[] {
    return [
      () => this.stop(),
      () => this.setEnabled(false),
      () => this.#hasCall && this.setCall(-1),
      () => this.#hasErr && this.setErr(-1),
    ];
  }

  #requireStopped(): RingState & { kind: 'stopped' } {
    if (this.#state.kind === 'stopped') return this.#state;
    throw new Refusal(
      'WRONG_ORDER',
      `the ring is ${this.#state.kind}; GET_VRING_BASE has to stop it first`,
    );
  }

  #requireMapped(addresses: RingAddresses, size: number): void {
    if (this.#memory.count === 0) {
      throw new Refusal('MEMORY_NOT_SHARED', `no memory region was given; ${memoryRemedy}`);
    }
    for (const { name, lengthBytes } of parts) {
      const length = lengthBytes(BigInt(size));
      if (!this.#memory.covers(addresses[name], length)) {
        throw new Refusal(
          'RING_UNMAPPED',
          `${length} bytes of ${name} at user address 0x${addresses[name].toString(16)} lie in no memory region`,
        );
      }
    }
  }
}
