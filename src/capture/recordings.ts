/**
 * The captures and replays of one switch: begun by name, drained when the switch says so, ended
 * with it.
 */

import { failure } from '../model/errors.ts';
import type { BridgeId, Port } from '../port/port.ts';
import type { ProcessPort } from '../port/process/process-port.ts';
import { type Clock, machineClock } from '../runtime/clock.ts';
import { Capture, type CaptureOptions } from './capture.ts';
import { type CapturedPacket, decodeCapture } from './pcapng.ts';
import { Replay, type ReplayTiming } from './replay.ts';

/** What is recorded: a port, or all that are or come on a bridge; bridge `default` unless given. */
export type CaptureTarget =
  | { readonly port: string | Port; readonly bridge?: undefined }
  | { readonly bridge?: string; readonly port?: undefined };

/** How a recording is played. */
export interface ReplayOptions {
  readonly port: ProcessPort;
  /** The bytes of a pcapng or pcap file, or packets. Those that went to a guest are left out. */
  readonly packets: Uint8Array | readonly CapturedPacket[];
  /** `original` unless given. */
  readonly timing?: ReplayTiming;
}

/** The parts of the switch that this looks at. */
export interface RecordedSwitch {
  readonly ports: readonly Port[];
  readonly bridges: readonly BridgeId[];
}

export class Recordings {
  readonly #switch: RecordedSwitch;
  readonly #clock: Clock;
  readonly #captures = new Set<Capture>();
  readonly #replays = new Set<Replay>();

  constructor(recorded: RecordedSwitch, clock: Clock = machineClock) {
    this.#switch = recorded;
    this.#clock = clock;
  }

  capture(options: CaptureTarget & CaptureOptions): Capture {
    const target = this.#targetOf(options);
    const source = {
      target: target.handle,
      interfaces: this.#interfacesOf(target),
      portName: (number: number) => this.#nameOf(number),
      onClosed: (closed: Capture) => this.#captures.delete(closed),
    };
    const capture = new Capture(source, options);
    this.#captures.add(capture);
    return capture;
  }

  replay({ port, packets, timing = 'original' }: ReplayOptions): Replay {
    const all = packets instanceof Uint8Array ? decodeCapture(packets) : packets;
    const sent = all.filter(({ direction }) => direction !== 'toGuest');
    const replay = new Replay(port, this.#clock, sent, timing);
    this.#replays.add(replay);
    const forget = () => this.#replays.delete(replay);
    replay.done.then(forget, forget);
    return replay;
  }

  /** Whenever frames were moved by this thread. */
  drainSteps(): void {
    for (const capture of this.#captures) capture.drainSteps();
  }

  drain(): void {
    for (const capture of this.#captures) capture.drain();
  }

  /** Before a port's number loses its name. */
  forgetPorts(): void {
    this.drain();
    for (const capture of this.#captures) capture.forgetPorts();
  }

  end(): void {
    for (const replay of this.#replays) replay.end();
    this.drain();
    for (const capture of this.#captures) capture.end();
  }

  #nameOf(number: number): string {
    return this.#switch.ports.find((port) => port.number === number)?.name ?? String(number);
  }

  /** A bridge without ports has one all the same, named after itself. */
  #interfacesOf(target: Port | BridgeId): string[] {
    if ('kind' in target) return [target.name];
    const { name } = target;
    const ports = this.#switch.ports.filter(({ bridge }) => bridge === name);
    return ports.length === 0 ? [name] : ports.map((port) => port.name);
  }

  #targetOf({ port, bridge }: CaptureTarget): Port | BridgeId {
    if (port !== undefined && bridge !== undefined) {
      throw failure('capture-of-both');
    }
    if (port !== undefined) {
      const name = typeof port === 'string' ? port : port?.name;
      const found = this.#switch.ports.find((other) => other.name === name);
      if (found !== undefined) return found;
      throw failure('port-unknown', { name: String(name) });
    }
    const name = bridge ?? 'default';
    const found = this.#switch.bridges.find((other) => other.name === name);
    if (found !== undefined) return found;
    throw failure('bridge-unknown', { name: String(name) });
  }
}
