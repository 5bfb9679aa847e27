/**
 * A guest without a machine: a vhost-user frontend and a virtio-net driver in this process, which
 * sends and receives Ethernet frames through any vhost-user backend.
 *
 *     await using guest = await TestGuest.connect({ path: '/run/vsw/01.sock' });
 *     await guest.send(frame);
 *     const answer = await guest.receive({ timeoutMs: 1000 });
 *
 * Nothing polls: the backend signals the call eventfd, which is watched on the event loop (and keeps
 * it alive until close), and the rings say what has happened. The receiveq asks for an interrupt all
 * the time, the transmitq only while somebody waits for it.
 *
 * For misbehaving on purpose: `memory`, `receiveq.driver.ring`, `transmitq.driver.ring`, kick() and
 * `frontend` give raw access.
 *
 * One queue pair, split rings. Checksums and segmentation are not offered for negotiation.
 */

import { TsvswitchError } from '../errors.ts';
import { native } from '../native.ts';
import { netHeaderBytes, protocolFeatures, virtioFeatures } from '../vhost-user/features.ts';
import { VhostUserFrontend } from './frontend.ts';
import { GuestMemory, type MemoryKind } from './guest-memory.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { type FrameLayout, TransmitQueue } from './transmit-queue.ts';
import { Wakeup } from './wakeup.ts';

/** What a guest asks for unless told otherwise. */
const defaultFeatures =
  virtioFeatures.VIRTIO_F_VERSION_1 |
  virtioFeatures.VIRTIO_NET_F_MRG_RXBUF |
  virtioFeatures.VIRTIO_F_ANY_LAYOUT |
  virtioFeatures.VIRTIO_F_INDIRECT_DESC |
  virtioFeatures.VIRTIO_F_EVENT_IDX;

export interface TestGuestOptions {
  /** Socket of the backend. */
  readonly path: string;
  /** Virtio features to accept where they are offered. */
  readonly features?: bigint;
  /** Protocol features to accept where they are offered; REPLY_ACK unless given. */
  readonly protocolFeatures?: bigint;
  /** Size of both rings, a power of two; 256 unless given. */
  readonly queueSize?: number;
  readonly memory?: MemoryKind;
  /** Bytes; 8 MiB unless given, which is plenty for rings of 256. */
  readonly memorySizeBytes?: number;
  readonly memoryRegions?: number;
  /** Bytes of each receive buffer; 2048 unless given. */
  readonly receiveBufferBytes?: number;
  /** How many receive buffers the guest keeps in the ring; as many as fit unless given. */
  readonly receiveBuffers?: number;
  /** The limit of every wait that is not given one; 5000 unless given. */
  readonly timeoutMs?: number;
}

export interface WaitOptions {
  readonly timeoutMs?: number;
}

const receiveqIndex = 0;
const transmitqIndex = 1;

/** One queue with its eventfds, as the backend and this guest signal it. */
interface Doorbells {
  readonly kickFd: number;
  readonly callFd: number;
}

export class TestGuest {
  readonly frontend: VhostUserFrontend;
  readonly memory: GuestMemory;
  readonly receiveq: ReceiveQueue;
  readonly transmitq: TransmitQueue;
  /** The virtio features both ends agreed on. */
  readonly features: bigint;
  readonly #doorbells: readonly [Doorbells, Doorbells];
  readonly #timeoutMs: number;
  readonly #frames: Uint8Array[] = [];
  readonly #received = new Wakeup();
  readonly #reclaimed = new Wakeup();
  #state: 'connecting' | 'running' | 'closed' = 'connecting';

  private constructor(
    frontend: VhostUserFrontend,
    memory: GuestMemory,
    features: bigint,
    options: TestGuestOptions,
  ) {
    this.frontend = frontend;
    this.memory = memory;
    this.features = features;
    this.#timeoutMs = options.timeoutMs ?? 5000;
    const has = (bit: bigint) => (features & bit) !== 0n;
    const size = options.queueSize ?? 256;
    const eventIdx = has(virtioFeatures.VIRTIO_F_EVENT_IDX);
    const headerBytes = netHeaderBytes(features);
    const bufferBytes = options.receiveBufferBytes ?? 2048;
    if (bufferBytes < headerBytes) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `receiveBufferBytes: ${bufferBytes} bytes do not hold a header of ${headerBytes}`,
      );
    }
    this.receiveq = new ReceiveQueue(memory, {
      queue: receiveqIndex,
      size,
      eventIdx,
      headerBytes,
      mergeable: has(virtioFeatures.VIRTIO_NET_F_MRG_RXBUF),
      bufferBytes,
      bufferCount: options.receiveBuffers ?? size,
    });
    this.transmitq = new TransmitQueue(memory, {
      queue: transmitqIndex,
      size,
      eventIdx,
      headerBytes,
    });
    const doorbells = () => ({
      kickFd: native().eventfdCreate(),
      callFd: native().eventfdCreate(),
    });
    this.#doorbells = [doorbells(), doorbells()];
    frontend.onEnd((error) => this.#fail(error));
  }

  /** Connects, negotiates, shares memory and starts both queues. */
  static connect(options: TestGuestOptions): Promise<TestGuest> {
    return TestGuest.#bringUp(VhostUserFrontend.connect(options), options);
  }

  /** The same for a backend that connects: waits for it on the socket, which is then removed. */
  static async listen(options: TestGuestOptions): Promise<TestGuest> {
    return TestGuest.#bringUp(await VhostUserFrontend.listen(options), options);
  }

  static async #bringUp(frontend: VhostUserFrontend, options: TestGuestOptions) {
    let memory: GuestMemory | undefined;
    let guest: TestGuest | undefined;
    try {
      const features = await frontend.negotiate(
        options.features ?? defaultFeatures,
        options.protocolFeatures ?? protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK,
      );
      memory = GuestMemory.create({
        kind: options.memory ?? 'memfd',
        sizeBytes: options.memorySizeBytes ?? 8 << 20,
        regions: options.memoryRegions ?? 1,
      });
      guest = new TestGuest(frontend, memory, features, options);
      await guest.#start();
      return guest;
    } catch (error) {
      if (guest === undefined) {
        frontend.close();
        memory?.close();
      } else guest.disconnect();
      throw error;
    }
  }

  /**
   * Makes a frame available to the backend and kicks it if it asks for that; waits for room in the
   * ring. Throws TIMEOUT, and DISCONNECTED or PEER_VIOLATION if the guest has come to its end so.
   */
  async send(frame: Uint8Array, layout: FrameLayout & WaitOptions = {}): Promise<void> {
    const { driver } = this.transmitq;
    this.#checkRunning();
    this.#reclaim();
    // Ends by the frame finding room or by a wait running out.
    while (!this.transmitq.add(frame, layout)) {
      await this.#nextReclaim(layout.timeoutMs, 'room in the transmitq');
    }
    if (driver.publish()) this.kick('transmitq');
  }

  /** Waits until the backend has used every frame sent. */
  async flush({ timeoutMs }: WaitOptions = {}): Promise<void> {
    this.#checkRunning();
    this.#reclaim();
    while (this.transmitq.driver.outstanding > 0) {
      await this.#nextReclaim(timeoutMs, 'the transmitq to be drained');
    }
  }

  /** The next frame, in the order of arrival; rejects with TIMEOUT if none comes. */
  async receive({ timeoutMs = this.#timeoutMs }: WaitOptions = {}): Promise<Uint8Array> {
    const deadlineMs = performance.now() + timeoutMs;
    // Another receive() may have taken the frame that woke this one.
    while (this.#frames.length === 0) {
      this.#checkRunning();
      const leftMs = Math.max(0, deadlineMs - performance.now());
      await this.#received.wait(leftMs, `a frame (limit ${timeoutMs} ms)`);
    }
    return this.#frames.shift()!;
  }

  /** Frames that have arrived and nobody has asked for yet. */
  get pendingFrames(): number {
    return this.#frames.length;
  }

  /** Every frame from now on; ends when the guest is closed and throws if it comes to another end. */
  async *frames(): AsyncGenerator<Uint8Array, void, void> {
    while (this.#state !== 'closed' || this.#frames.length > 0) {
      const frame = this.#frames.shift();
      if (frame !== undefined) yield frame;
      else {
        try {
          // The longest a Node timer can wait; the end of the guest ends the wait as well.
          await this.#received.wait(2 ** 31 - 1, 'a frame');
        } catch (error) {
          if ((error as TsvswitchError).code !== 'CLOSED') throw error;
        }
      }
    }
  }

  /** Kicks a queue whether the backend asked for it or not. */
  kick(queue: 'receiveq' | 'transmitq'): void {
    this.#checkRunning();
    native().eventfdSignal(this.#doorbells[queue === 'receiveq' ? 0 : 1].kickFd);
  }

  /** Stops both queues as a driver does that is unloaded, then disconnects; idempotent. */
  async close(): Promise<void> {
    if (this.#state === 'running' && this.frontend.end === undefined) {
      try {
        for (const index of [receiveqIndex, transmitqIndex]) {
          await this.frontend.enableRing(index, false);
          await this.frontend.stopRing(index);
        }
      } catch {
        // A backend that no longer answers need not be told goodbye.
      }
    }
    this.disconnect();
  }

  /** Dies on the spot: the backend sees the connection end with its queues running. */
  disconnect(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#fail(new TsvswitchError('CLOSED', 'this guest is closed'));
    for (const { kickFd, callFd } of this.#doorbells) {
      native().closeFd(kickFd);
      native().closeFd(callFd);
    }
    this.frontend.close();
    this.memory.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<void> {
    await this.frontend.setMemory(this.memory.regions);
    const queues = [this.receiveq, this.transmitq] as const;
    for (const [index, { driver }] of queues.entries()) {
      const { size, addresses } = driver.ring;
      const doorbells = this.#doorbells[index]!;
      await this.frontend.startRing(index, { size, base: 0, addresses, ...doorbells });
    }
    for (const index of queues.keys()) await this.frontend.enableRing(index, true);
    this.#state = 'running';
    this.#watch(receiveqIndex, () => this.#harvest());
    this.#watch(transmitqIndex, () => this.#reclaim());
    this.#harvest();
  }

  #watch(index: 0 | 1, onCall: () => void): void {
    const { callFd } = this.#doorbells[index];
    native().watchReadable(callFd, () => {
      native().eventfdDrain(callFd);
      onCall();
    });
  }

  /** Takes every frame there is, gives the buffers back and asks for the next interrupt. */
  #harvest(): void {
    const { driver } = this.receiveq;
    try {
      this.#takeFrames();
      if (driver.publish()) this.kick('receiveq');
      // What arrived before the interrupt was armed may come without a call: ring the bell here, so
      // that it is taken in the next turn of the event loop and others get theirs.
      if (!driver.armInterrupt()) native().eventfdSignal(this.#doorbells[receiveqIndex].callFd);
    } catch (error) {
      this.#fail(error as TsvswitchError);
    }
    if (this.#frames.length > 0) this.#received.wake();
  }

  #takeFrames(): void {
    for (let i = 0; i < this.receiveq.driver.ring.size; i++) {
      const frame = this.receiveq.take();
      if (frame === undefined) return;
      this.#frames.push(frame);
    }
  }

  #reclaim(): void {
    try {
      this.transmitq.reclaim();
      this.#reclaimed.wake();
    } catch (error) {
      this.#fail(error as TsvswitchError);
      throw error;
    }
  }

  /** Resolves when the backend has used something of the transmitq and it was reclaimed. */
  async #nextReclaim(timeoutMs: number | undefined, what: string): Promise<void> {
    const { driver } = this.transmitq;
    if (driver.armInterrupt()) {
      await this.#reclaimed.wait(timeoutMs ?? this.#timeoutMs, what);
    } else this.#reclaim();
    driver.disarmInterrupt();
  }

  /** Ends every wait with the reason; what has arrived can still be received. */
  #fail(error: TsvswitchError): void {
    this.#received.fail(error);
    this.#reclaimed.fail(error);
  }

  #checkRunning(): void {
    if (this.#state !== 'running') throw new TsvswitchError('CLOSED', 'this guest is closed');
    if (this.frontend.end !== undefined) throw this.frontend.end;
  }
}
