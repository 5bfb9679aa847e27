/**
 * A guest without a machine: a vhost-user frontend and a virtio-net driver in this process, which
 * sends and receives Ethernet frames through any vhost-user backend.
 *
 *     await using guest = await TestGuest.connect({ path: '/run/vsw/01.sock' });
 *     await guest.expect({ arp: { operation: 'reply', senderIp: '10.0.0.2' } }, { within: 1000 });
 *
 * This file is the guest's life: connected, lost when the connection ends, connected again or
 * closed. What is said over the connection is in guest-connection.ts, what can be chosen in
 * guest-options.ts. While it is connected, the watched eventfds keep the event loop alive.
 *
 * Without `controlQueue` it has neither config space nor control queue, and enablePairs() does what
 * a driver would do through MQ's. It keeps no inflight region: it reconnects behind the last used
 * buffer.
 */

import '../runtime/dispose.ts';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { netHeaderBytes, type VirtioFeatureName, virtioFeatures } from '../vhost-user/features.ts';
import type { ControlCommand } from './control-commands.ts';
import { type CommandLayout, ControlLine } from './control-line.ts';
import { type ExpectOptions, expectFrame } from './frames/expect.ts';
import type { FrameMatcher } from './frames/match.ts';
import type { ParsedFrame } from './frames/parse.ts';
import { VhostUserFrontend } from './frontend.ts';
import {
  checkServed,
  controlQueueOf,
  type Dial,
  dialUntil,
  type GuestConfig,
  negotiateAgain,
  readConfig,
  setPlugged,
  shareMemory,
} from './guest-connection.ts';
import { GuestMemory } from './guest-memory.ts';
import {
  checkFrames,
  checkObject,
  checkQueueSize,
  checkTimeout,
  checkWhole,
  type GuestSettings,
  memoryBytesOf,
  type SendOptions,
  settingsOf,
  type TestGuestOptions,
  timeoutMsMax,
  type WaitOptions,
} from './guest-options.ts';
import { Inbox } from './inbox.ts';
import { QueuePair } from './queue-pair.ts';
import { RawGuest } from './raw.ts';
import type { ReceiveQueue } from './receive-queue.ts';
import type { ReceivedPacket } from './received-packet.ts';
import type { TransmitQueue } from './transmit-queue.ts';

type GuestState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'running' }
  /** The connection has ended, or could not be made again. */
  | { readonly kind: 'lost'; readonly error: TsvswitchError }
  | { readonly kind: 'closed' };

/**
 * A guest without a machine, for tests of any vhost-user backend. Close it, or bind it with `await
 * using`: until then it keeps the event loop alive.
 */
export class TestGuest {
  /** Memory, rings and messages as they are, for misbehaving on purpose. */
  readonly raw: RawGuest;
  readonly memory: GuestMemory;
  /** The virtio features both ends agreed on. */
  readonly features: bigint;
  /** All queue pairs, enabled or not. */
  readonly queuePairs: readonly QueuePair[];
  readonly #control: ControlLine | undefined;
  readonly #settings: GuestSettings;
  readonly #dial: Dial;
  readonly #inbox = new Inbox();
  #frontend: VhostUserFrontend;
  #state: GuestState = { kind: 'connecting' };

  private constructor(
    settings: GuestSettings,
    dial: Dial,
    frontend: VhostUserFrontend,
    memory: GuestMemory,
    features: bigint,
    controlQueue: number | undefined,
  ) {
    this.#settings = settings;
    this.#dial = dial;
    this.#frontend = frontend;
    this.memory = memory;
    this.features = features;
    const headerBytes = netHeaderBytes(features);
    const { receiveBufferBytes, receiveBuffers } = settings;
    checkWhole('receiveBufferBytes', receiveBufferBytes, headerBytes, Number.MAX_SAFE_INTEGER);
    const pairOptions = {
      size: settings.queueSize,
      packed: this.has('VIRTIO_F_RING_PACKED'),
      eventIdx: this.has('VIRTIO_F_EVENT_IDX'),
      inOrder: this.has('VIRTIO_F_IN_ORDER'),
      mergeable: this.has('VIRTIO_NET_F_MRG_RXBUF'),
      headerBytes,
      bufferBytes: receiveBufferBytes,
      ...(receiveBuffers === undefined ? {} : { bufferCount: receiveBuffers }),
      layout: settings.receiveLayout,
    };
    const onViolation = (error: TsvswitchError) => this.#inbox.fail(error);
    const pairs: QueuePair[] = [];
    try {
      for (let number = 0; number < settings.queuePairs; number++) {
        pairs.push(new QueuePair(number, memory, pairOptions, this.#inbox, onViolation));
      }
      if (controlQueue !== undefined) {
        this.#control = new ControlLine(memory, { ...pairOptions, queue: controlQueue });
      }
    } catch (error) {
      for (const pair of pairs) pair.close();
      throw error;
    }
    this.queuePairs = pairs;
    this.raw = new RawGuest(
      memory,
      () => this.#frontend,
      (number) => {
        if (this.#state.kind === 'closed') this.#checkRunning();
        return this.#pair(number);
      },
      this.#control,
    );
  }

  /**
   * Connects, negotiates, shares memory, starts and enables every queue pair. Throws BAD_OPTION,
   * what connecting throws; for a backend's faults REFUSED, TIMEOUT, DISCONNECTED, PEER_VIOLATION.
   */
  static connect(options: TestGuestOptions): Promise<TestGuest> {
    return TestGuest.#bringUp(options, async (to) => VhostUserFrontend.connect(to));
  }

  /** The same for a backend that connects: waits for it on the socket, which is then removed. */
  static listen(options: TestGuestOptions): Promise<TestGuest> {
    return TestGuest.#bringUp(options, (to, waitMs) => VhostUserFrontend.listen(to, waitMs));
  }

  static async #bringUp(options: TestGuestOptions, dial: Dial): Promise<TestGuest> {
    const settings = settingsOf(options);
    const { path, timeoutMs } = settings;
    const frontend = await dial({ path, timeoutMs }, timeoutMs);
    let memory: GuestMemory | undefined;
    let guest: TestGuest | undefined;
    try {
      const features = await frontend.negotiate(settings.features, settings.protocolFeatures);
      const packed = (features & virtioFeatures.VIRTIO_F_RING_PACKED) !== 0n;
      checkQueueSize(settings.queueSize, packed);
      const control = settings.controlQueue ? await controlQueueOf(frontend, features) : undefined;
      memory = GuestMemory.create({
        kind: settings.memory,
        sizeBytes: memoryBytesOf(settings, packed),
        regions: settings.memoryRegions,
        pluggedRegions: settings.pluggedRegions,
      });
      guest = new TestGuest(settings, dial, frontend, memory, features, control);
      await guest.#start(guest.queuePairs);
      return guest;
    } catch (error) {
      if (guest === undefined) {
        frontend.close();
        memory?.close();
      } else guest.disconnect();
      throw error;
    }
  }

  /** The connection to the backend; another one after reconnect(). */
  get frontend(): VhostUserFrontend {
    return this.#frontend;
  }

  /** The receiveq of the first queue pair. */
  get receiveq(): ReceiveQueue {
    return this.queuePairs[0]!.receiveq;
  }

  /** The transmitq of the first queue pair. */
  get transmitq(): TransmitQueue {
    return this.queuePairs[0]!.transmitq;
  }

  /** Whether a virtio feature was agreed on. */
  has(feature: VirtioFeatureName): boolean {
    return (this.features & virtioFeatures[feature]) !== 0n;
  }

  /**
   * Makes a frame available to the backend and kicks it if it asks for that; waits for room in the
   * ring. Throws BAD_FRAME, BAD_OPTION, CLOSED, TIMEOUT, DISCONNECTED, PEER_VIOLATION.
   */
  send(frame: Uint8Array, options: SendOptions = {}): Promise<void> {
    return this.sendAll([frame], options);
  }

  /** The same for many, shown to the backend as often as the ring is full and once at the end. */
  async sendAll(frames: readonly Uint8Array[], options: SendOptions = {}): Promise<void> {
    checkObject('options', options);
    const { queuePair = 0, timeoutMs = this.#settings.timeoutMs } = options;
    checkTimeout('timeoutMs', timeoutMs);
    if (options.indirect && !this.has('VIRTIO_F_INDIRECT_DESC')) {
      throw failure('indirect-not-agreed');
    }
    checkFrames(frames);
    const pair = this.#pair(queuePair);
    this.#checkRunning();
    pair.reclaim();
    for (const frame of frames) {
      // Ends by the frame finding room or by a wait running out.
      while (!pair.transmitq.add(frame, options)) {
        pair.publish();
        await pair.nextReclaim(timeoutMs, 'room in the transmitq');
        this.#checkRunning();
      }
    }
    pair.publish();
  }

  /** Waits until the backend has used every frame sent. */
  async flush({ timeoutMs = this.#settings.timeoutMs }: WaitOptions = {}): Promise<void> {
    checkTimeout('timeoutMs', timeoutMs);
    for (const pair of this.queuePairs) {
      this.#checkRunning();
      pair.reclaim();
      while (pair.transmitq.driver.outstanding > 0) {
        await pair.nextReclaim(timeoutMs, 'the transmitq to be drained');
      }
    }
  }

  /** The next frame, in the order of arrival; rejects with TIMEOUT if none comes. */
  async receive(options: WaitOptions = {}): Promise<Uint8Array> {
    return (await this.receivePacket(options)).frame;
  }

  /** The same with the virtio-net header in front of the frame and the queue pair it came by. */
  async receivePacket(options: WaitOptions = {}): Promise<ReceivedPacket> {
    return this.#arrival(options, () => this.#inbox.shift());
  }

  /** Everything that has arrived, at least one packet; rejects with TIMEOUT. */
  async receiveAll(options: WaitOptions = {}): Promise<ReceivedPacket[]> {
    return this.#arrival(options, () => this.#inbox.takeAll());
  }

  /** The next frame that matches; others are passed over. TIMEOUT says how what came differs. */
  async expect(matcher: FrameMatcher, options: ExpectOptions = {}): Promise<ParsedFrame> {
    const { within = this.#settings.timeoutMs } = options;
    checkTimeout('within', within);
    return expectFrame(this, matcher, { within });
  }

  /** Frames that have arrived and nobody has asked for yet. */
  get pendingFrames(): number {
    return this.#inbox.length;
  }

  /** Every frame from now on; ends when the guest is closed, throws if it ends otherwise. */
  async *frames(): AsyncGenerator<Uint8Array, void, void> {
    while (this.#state.kind !== 'closed' || this.#inbox.length > 0) {
      try {
        await this.#inbox.wait(timeoutMsMax, 'a frame');
      } catch (error) {
        // Closed by its owner it has only come to its end.
        if (this.#state.kind !== 'closed') throw error;
      }
      const packet = this.#inbox.shift();
      if (packet !== undefined) yield packet.frame;
    }
  }

  /** Kicks a queue of the first pair whether the backend asked for it or not. */
  kick(queue: 'receiveq' | 'transmitq'): void {
    this.#checkRunning();
    this.queuePairs[0]!.kick(queue);
  }

  /**
   * Says a command on the control queue, such as `controlCommands.queuePairs(2)`, and returns the
   * status that answers it, 0 for VIRTIO_NET_OK. Throws TIMEOUT; BAD_OPTION without `controlQueue`.
   */
  control(
    command: ControlCommand,
    { timeoutMs = this.#settings.timeoutMs, ...layout }: CommandLayout & WaitOptions = {},
  ): Promise<number> {
    checkTimeout('timeoutMs', timeoutMs);
    this.#checkRunning();
    if (this.#control !== undefined) return this.#control.command(command, layout, timeoutMs);
    throw failure('guest-without-control-queue');
  }

  /** The configuration space as it is now. Throws REFUSED if the backend has none. */
  config(): Promise<GuestConfig> {
    this.#checkRunning();
    return readConfig(this.#frontend);
  }

  /** Uses the first `count` queue pairs and disables the others, as a driver's MQ command does. */
  async enablePairs(count: number): Promise<void> {
    checkWhole('count', count, 1, this.queuePairs.length);
    this.#checkRunning();
    for (const [number, pair] of this.queuePairs.entries()) {
      if (pair.enabled !== number < count) await pair.enable(this.#frontend, number < count);
    }
  }

  /**
   * Shares one more region: by ADD_MEM_REG if CONFIGURE_MEM_SLOTS was agreed on, else by
   * SET_MEM_TABLE. `memory.allocate()` gives out of it once all before it are plugged.
   */
  async plugMemory(region: number): Promise<void> {
    this.#checkRunning();
    await setPlugged(this.#frontend, this.memory, region, true);
  }

  /** Takes a region back, by REM_MEM_REG or SET_MEM_TABLE; no queue of the guest may lie in it. */
  async unplugMemory(region: number): Promise<void> {
    this.#checkRunning();
    await setPlugged(this.#frontend, this.memory, region, false);
  }

  /**
   * Connects again, for a backend that was restarted or a guest that was disconnected: tries until
   * the limit, negotiates the same features, shares the same memory and goes on with the same rings
   * behind the last buffer that was used: this backend uses what the last one had not. Throws what
   * connect() throws, and REFUSED if a feature is no longer offered; the guest is lost then, and
   * this may be called again.
   */
  async reconnect({ timeoutMs = this.#settings.timeoutMs }: WaitOptions = {}): Promise<void> {
    checkTimeout('timeoutMs', timeoutMs);
    if (this.#state.kind !== 'lost') this.#checkRunning();
    this.#frontend.close();
    this.#state = { kind: 'connecting' };
    try {
      const isWanted = () => this.#state.kind === 'connecting';
      this.#frontend = await dialUntil(this.#dial, this.#settings, timeoutMs, isWanted);
      if (!isWanted()) this.#checkRunning();
      await negotiateAgain(this.#frontend, this.features, this.#settings.protocolFeatures);
      this.#inbox.reset();
      for (const pair of this.queuePairs) pair.reset();
      this.#control?.reset();
      await this.#start(this.queuePairs.filter(({ enabled }) => enabled));
    } catch (error) {
      this.#frontend.close();
      this.#lose(error as TsvswitchError);
      throw error;
    }
  }

  /** Stops all queues as a driver does that is unloaded, then disconnects; idempotent. */
  async close(): Promise<void> {
    if (this.#state.kind === 'running' && this.#frontend.end === undefined) {
      try {
        for (const pair of this.queuePairs) await pair.stop(this.#frontend);
        await this.#control?.stop(this.#frontend);
      } catch {
        // A backend that no longer answers need not be told goodbye.
      }
    }
    this.disconnect();
  }

  /** Dies on the spot: the backend sees the connection end with its queues running. */
  disconnect(): void {
    if (this.#state.kind === 'closed') return;
    this.#state = { kind: 'closed' };
    this.#fail(failure('guest-closed'));
    this.#frontend.close();
    for (const pair of this.queuePairs) pair.close();
    this.#control?.close();
    this.memory.close();
  }

  /** As close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Says over the connection everything that makes the queues run, and enables these pairs. */
  async #start(enabled: readonly QueuePair[]): Promise<void> {
    const frontend = this.#frontend;
    await checkServed(frontend, this.queuePairs.length);
    await shareMemory(frontend, this.memory);
    // First of all: what waits in a transmitq that is started and disabled is thrown away.
    for (const pair of enabled) await pair.enable(frontend, true);
    for (const pair of this.queuePairs) await pair.start(frontend);
    await this.#control?.start(frontend);
    this.#state = { kind: 'running' };
    frontend.onEnd((error) => {
      if (this.#state.kind === 'running') this.#lose(error);
    });
    for (const pair of this.queuePairs) pair.watch();
    this.#control?.watch();
  }

  /** What `take` finds in the inbox, as soon as that is something. */
  async #arrival<Taken>(
    { timeoutMs = this.#settings.timeoutMs }: WaitOptions,
    take: () => Taken | undefined,
  ): Promise<Taken> {
    checkTimeout('timeoutMs', timeoutMs);
    const deadlineMs = performance.now() + timeoutMs;
    // Another receive() may have taken what woke this one; the wait has a limit.
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      this.#checkRunning();
      const leftMs = Math.max(0, Math.ceil(deadlineMs - performance.now()));
      await this.#inbox.wait(leftMs, `a frame (limit ${timeoutMs} ms)`);
    }
  }

  #lose(error: TsvswitchError): void {
    if (this.#state.kind === 'closed') return;
    this.#state = { kind: 'lost', error };
    this.#fail(error);
  }

  /** Ends every wait with the reason; what has arrived can still be received. */
  #fail(error: TsvswitchError): void {
    this.#inbox.fail(error);
    for (const pair of this.queuePairs) pair.fail(error);
    this.#control?.fail(error);
  }

  #pair(number: number): QueuePair {
    checkWhole('queuePair', number, 0, this.queuePairs.length - 1);
    return this.queuePairs[number]!;
  }

  #checkRunning(): void {
    const state = this.#state;
    if (state.kind === 'running') return;
    if (state.kind === 'lost') throw state.error;
    throw failure('guest-gone', { state: state.kind });
  }
}
