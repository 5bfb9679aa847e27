/**
 * One ring as its frontend drives it: two independent facts, started and enabled, and a sticky
 * broken.
 *
 *     stopped --SET_VRING_KICK--> started --the guest misbehaves--> broken
 *        ^                           |                                 |
 *        +------ GET_VRING_BASE, device reset, end of session, --------+
 *                a size or a base for the next start
 *
 * The specification lets a backend wait for the first kick before it starts the ring. We start at
 * SET_VRING_KICK: a driver that polls never kicks, and buffers may already lie in the ring.
 * Whether the ring is enabled is kept apart: QEMU enables rings long before it starts them, and a
 * stopped ring keeps the setting. A stopped ring forgets its addresses, so that one that is started
 * again with stale ones (the guest rebooted) is a refusal and not a write into somebody's memory.
 *
 * A size or a base for a ring that runs says that it is to start anew. Linux's virtio_uml asks for
 * no base when its driver goes, and gives the rings to the next one; that driver's ring lies
 * elsewhere.
 *
 * With in-band notifications VRING_KICK starts a ring as well, one that has no eventfd from its
 * frontend; the backend then makes one for itself. Calls go in band unless SET_VRING_CALL said
 * other.
 *
 * What a size, an address and a base may be depends on the ring's format (ring-format.ts), which is
 * settled by SET_FEATURES. Everything is checked when it is said, and again when the ring starts,
 * because the features may have changed in between.
 *
 * Sources: vhost-user "Ring states", "In-band notifications".
 */

import { type BreakFault, told } from '../model/faults/table.ts';
import { hex } from '../model/sentence.ts';
import type { RingAddresses } from '../native/addon.ts';
import type { Backend } from './backend.ts';
import type { MemoryTable } from './memory.ts';
import { refusal } from './refusal.ts';
import { type RingFormat, splitRing } from './ring-format.ts';

export type RingState =
  /** What the frontend has said so far; a ring starts once nothing is undefined. */
  | {
      readonly kind: 'stopped';
      readonly base: number | undefined;
      readonly size: number | undefined;
      readonly addresses: RingAddresses | undefined;
    }
  | {
      readonly kind: 'started';
      readonly size: number;
      readonly addresses: RingAddresses;
      readonly kick: Notification;
    }
  | {
      readonly kind: 'broken';
      readonly size: number;
      readonly addresses: RingAddresses;
      readonly kick: Notification;
      readonly fault: BreakFault;
    };

export type RingEvent =
  | { readonly type: 'ring-started'; readonly queue: number; readonly size: number }
  | { readonly type: 'ring-stopped'; readonly queue: number; readonly base: number }
  | {
      readonly type: 'ring-broken';
      readonly queue: number;
      readonly fault: BreakFault;
      /** The fault as a sentence. */
      readonly reason: string;
    }
  | { readonly type: 'ring-enabled'; readonly queue: number }
  | { readonly type: 'ring-disabled'; readonly queue: number };

const fresh = {
  kind: 'stopped',
  base: undefined,
  size: undefined,
  addresses: undefined,
} as const satisfies RingState;

/**
 * Where a kind of notification goes; `unsaid` until the frontend said something about an eventfd.
 */
export type Notification = 'unsaid' | 'none' | 'eventfd' | 'in-band';

/** What there is to know of a ring. */
export interface RingFacts {
  readonly state: RingState;
  readonly enabled: boolean;
  readonly call: Notification;
  readonly err: Notification;
}

export class Ring {
  readonly #queue: number;
  readonly #backend: Backend;
  readonly #memory: MemoryTable;
  readonly #emit: (event: RingEvent) => void;
  #state: RingState = fresh;
  #format: RingFormat = splitRing;
  #enabled = false;
  #call: Notification = 'unsaid';
  #err: Notification = 'unsaid';

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

  get facts(): RingFacts {
    const state = this.#state.kind === 'stopped' ? this.#fitting(this.#state) : this.#state;
    return { state, enabled: this.#enabled, call: this.#call, err: this.#err };
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Only while the ring is stopped. What was said before is checked again when the ring starts. */
  setFormat(format: RingFormat): void {
    this.#format = format;
  }

  setSize(size: number): void {
    const state = this.#stopped();
    this.#format.checkSize(size);
    this.#state = { ...state, size };
  }

  setBase(base: number): void {
    const state = this.#stopped();
    this.#format.checkBase(base, state.size);
    this.#state = { ...state, base };
  }

  /** On a started ring this moves it, between two rounds of the data plane. */
  setAddresses(addresses: RingAddresses): void {
    this.#checkAlignment(addresses);
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
   * one stays broken. `inBand` says that notifications without an eventfd go in band,
   * `controlPairs` that this is the control queue. Returns whether the ring goes on from where
   * another one stopped.
   */
  start(takeKickFd: () => number, inBand: boolean, controlPairs?: number): boolean {
    const state = this.#state;
    if (state.kind === 'broken') return false;
    const { size, addresses } = state;
    if (size === undefined) {
      throw refusal('before-ring-size');
    }
    if (addresses === undefined) {
      throw refusal('before-ring-addresses');
    }
    this.#format.checkSize(size);
    this.#checkAlignment(addresses);
    this.#requireMapped(addresses, size);
    const said = state.kind === 'started' ? this.stop() : state.base;
    const last = said ?? this.#format.initialBase;
    this.#format.checkBase(last, size);
    const base = this.#format.startBase(last);
    if (inBand && this.#call === 'unsaid') {
      this.#call = 'in-band';
      this.#backend.setCallInBand(this.#queue);
    }
    const control = controlPairs === undefined ? {} : { controlPairs };
    const kickFd = takeKickFd();
    const start = { ...addresses, size, base, kickFd, ...control };
    this.#backend.startQueue(this.#queue, start);
    this.#state = { kind: 'started', size, addresses, kick: kickFd === -1 ? 'none' : 'eventfd' };
    this.#emit({ type: 'ring-started', queue: this.#queue, size });
    return base !== this.#format.initialBase;
  }

  /** VRING_KICK: starts the ring if need be and makes the data plane look at it. */
  kick(controlPairs?: number): void {
    if (this.#state.kind === 'stopped') {
      this.start(() => this.#backend.createEventfd(), true, controlPairs);
    }
    if (this.#state.kind === 'started') this.#backend.kick(this.#queue);
  }

  /** Stops the ring if it runs; returns where it would go on, of a stopped ring too. */
  stop(): number {
    const state = this.#state;
    if (state.kind === 'stopped') return state.base ?? this.#format.initialBase;
    // The queue counts as stopped even if the backend throws: it is not to be stopped twice.
    this.#state = { ...fresh, size: state.size };
    const base = this.#backend.stopQueue(this.#queue);
    this.#state = { ...fresh, size: state.size, base };
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
    this.#call = fd === -1 ? 'none' : 'eventfd';
    this.#backend.setCall(this.#queue, fd);
  }

  setErr(fd: number): void {
    this.#err = fd === -1 ? 'none' : 'eventfd';
    this.#backend.setErr(this.#queue, fd);
  }

  get callsInBand(): boolean {
    return this.#call === 'in-band';
  }

  /** Errors go to an eventfd if there is one, and in band otherwise. */
  get errsInBand(): boolean {
    return this.#err !== 'eventfd';
  }

  /** The data plane gave the queue up because of what the guest wrote. */
  markBroken(fault: BreakFault): void {
    const state = this.#state;
    if (state.kind !== 'started') return;
    this.#state = { ...state, kind: 'broken', fault };
    const { sentence: reason } = told(fault);
    this.#emit({ type: 'ring-broken', queue: this.#queue, fault, reason });
  }

  /**
   * Back to the initial state, except for what frontends rely on afterwards: the eventfds, which
   * they do not send again, and the base. QEMU 7.2 resets the status before it asks for the base
   * with GET_VRING_BASE, also when a machine is only paused and goes on from there.
   */
  reset(): void {
    const base = this.#state.kind === 'stopped' ? this.#state.base : this.stop();
    this.#state = { ...fresh, base };
    this.setEnabled(false);
  }

  /** What is to be done at the end of a session, as steps that do not depend on each other. */
  shutDownSteps(): (() => void)[] {
    return [
      () => this.stop(),
      () => this.setEnabled(false),
      () => (this.#call === 'eventfd' || this.#call === 'in-band') && this.setCall(-1),
      () => this.#err === 'eventfd' && this.setErr(-1),
    ];
  }

  /** Without what was said of another format and does not fit this one: no ring starts with it. */
  #fitting(state: RingState & { kind: 'stopped' }): RingState {
    const { size, base, addresses } = state;
    const format = this.#format;
    return {
      ...state,
      ...(size !== undefined && !passes(() => format.checkSize(size)) && { size: undefined }),
      ...(base !== undefined && !passes(() => format.checkBase(base, size)) && { base: undefined }),
      ...(addresses !== undefined &&
        !passes(() => this.#checkAlignment(addresses)) && { addresses: undefined }),
    };
  }

  #checkAlignment(addresses: RingAddresses): void {
    for (const { name, alignBytes } of this.#format.parts) {
      if (addresses[name] % alignBytes !== 0n) {
        throw refusal('ring-misaligned', {
          part: name,
          address: hex(addresses[name]),
          alignBytes: Number(alignBytes),
        });
      }
    }
  }

  #stopped(): RingState & { kind: 'stopped' } {
    if (this.#state.kind !== 'stopped') this.stop();
    return this.#state as RingState & { kind: 'stopped' };
  }

  #requireMapped(addresses: RingAddresses, size: number): void {
    if (this.#memory.count === 0) {
      throw refusal('memory-empty');
    }
    for (const { name, lengthBytes } of this.#format.parts) {
      const length = lengthBytes(BigInt(size));
      if (!this.#memory.covers(addresses[name], length)) {
        throw refusal('ring-outside-memory', {
          part: name,
          bytes: Number(length),
          userAddress: hex(addresses[name]),
        });
      }
    }
  }
}

/** Whether a check throws no Refusal. */
function passes(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
