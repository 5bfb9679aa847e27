/**
 * This process as a host on a bridge: it pings one guest, and so knows whether the guest can be
 * reached.
 */

import { EventEmitter, once } from 'node:events';
import type { ProcessPort, Switch } from '../../src/index.ts';
import { arp, icmp4, type ParsedFrame, parse } from '../../src/testing/index.ts';

export interface HostAddress {
  readonly ip: string;
  readonly mac: string;
}

const intervalMs = 10;
const echoReply = 0;
const pingId = 1;
const otherId = 2;
const sequences = 1 << 16;
/** RFC 903. */
const rarpEtherType = 0x8035;

export class Pinger {
  readonly #vswitch: Switch;
  readonly #port: ProcessPort;
  readonly #self: HostAddress;
  readonly #target: HostAddress;
  #timer: NodeJS.Timeout | undefined;
  readonly #notice = new EventEmitter<{ answer: [] }>();
  /** Pings are counted; on the wire is what remains modulo 2^16. */
  #sent = 0;
  #lastAnswered = -1;
  /**
   * How often all were told, asked by nobody, where the guest is: by itself, and for it
   * (SEND_RARP).
   */
  readonly announcements = { arp: 0, rarp: 0 };

  constructor(vswitch: Switch, self: HostAddress, target: HostAddress) {
    this.#vswitch = vswitch;
    this.#port = vswitch.addPort({ process: self.ip });
    this.#self = self;
    this.#target = target;
    void this.#listen();
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#ping(), intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Echo requests whose answers do not count, with these payloads. */
  send(payloads: readonly Buffer[]): void {
    this.#port.send(payloads.map((payload) => icmp4({ ...this.#ends, id: otherId, payload })));
  }

  /** Returns once a ping that was sent after this call is answered; for a host that pings. */
  async reached(): Promise<void> {
    const first = this.#sent;
    while (this.#lastAnswered < first) await once(this.#notice, 'answer');
  }

  close(): void {
    this.stop();
    this.#vswitch.removePort(this.#port);
  }

  get #ends() {
    const [self, target] = [this.#self, this.#target];
    return { from: self.mac, source: self.ip, to: target.mac, target: target.ip };
  }

  #ping(): void {
    const sequence = this.#sent++ % sequences;
    this.#port.send(icmp4({ ...this.#ends, id: pingId, sequence }));
  }

  async #listen(): Promise<void> {
    for await (const frames of this.#port.batches()) {
      for (const frame of frames) this.#hear(parse(frame));
    }
  }

  #hear({ ethernet, arp: said, icmp4: echo }: ParsedFrame): void {
    if (ethernet.from !== this.#target.mac) return;
    if (echo?.type === echoReply && echo.id === pingId) this.#answered(echo.sequence);
    if (ethernet.etherType === rarpEtherType) this.announcements.rarp++;
    if (said?.operation !== 'request') return;
    if (said.targetIp === said.senderIp) this.announcements.arp++;
    if (said.targetIp === this.#self.ip) this.#tellAddress();
  }

  #answered(sequence: number): void {
    const last = this.#sent - 1;
    this.#lastAnswered = last - ((last - sequence + sequences) % sequences);
    this.#notice.emit('answer');
  }

  #tellAddress(): void {
    const { mac: senderMac, ip: senderIp } = this.#self;
    const { mac: targetMac, ip: targetIp } = this.#target;
    this.#port.send(arp({ operation: 'reply', senderMac, senderIp, targetMac, targetIp }));
  }
}
