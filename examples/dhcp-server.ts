/**
 * A small DHCP server, on a port of the test process itself: every client that asks is given
 * its address out of `leases`, by its MAC address, and others get no answer.
 *
 * Sources: RFC 2131 (the message and who says what), RFC 2132 (options).
 */

import type { ProcessPort } from 'tsvswitch';
import { parse, udp4 } from 'tsvswitch/testing';

interface DhcpServerOptions {
  readonly mac: string;
  readonly ip: string;
  /** MAC address to IPv4 address. */
  readonly leases: ReadonlyMap<string, string>;
}

const [discover, offer, request, ack] = [1, 2, 3, 5];
const optionsAt = 240;
const cookie = [99, 130, 83, 99];
const leaseSeconds = [0, 0, 14, 16];

/** Answers until the port is closed. */
export async function serveDhcp(port: ProcessPort, options: DhcpServerOptions): Promise<void> {
  for await (const frames of port.batches()) {
    for (const frame of frames) {
      const { ethernet, udp, payload } = parse(frame);
      if (udp?.targetPort !== 67) continue;
      const ip = options.leases.get(ethernet.from);
      const answer = { [discover]: offer, [request]: ack }[messageType(payload) ?? 0];
      if (ip === undefined || answer === undefined) continue;
      port.send(
        udp4({
          ...{ to: ethernet.from, from: options.mac },
          ...{ source: options.ip, target: ip, sourcePort: 67, targetPort: 68 },
          payload: reply(payload, answer, ip, options.ip),
        }),
      );
    }
  }
}

/** Option 53 of a message, which clients put anywhere. */
function messageType(message: Uint8Array): number | undefined {
  for (let at = optionsAt; at + 2 < message.length; at += 2 + message[at + 1]!) {
    if (message[at] === 53) return message[at + 2];
  }
  return undefined;
}

function reply(message: Uint8Array, type: number, ip: string, server: string): Uint8Array {
  const bytes = new Uint8Array(optionsAt);
  // Hardware type, transaction and hardware address are the client's own.
  bytes.set(message.subarray(0, 8));
  bytes.set(message.subarray(28, 44), 28);
  bytes[0] = 2;
  bytes.set(ip4(ip), 16);
  bytes.set(cookie, 236);
  const options = [
    ...[53, 1, type],
    ...[54, 4, ...ip4(server)],
    ...[51, 4, ...leaseSeconds],
    ...[1, 4, 255, 255, 255, 0],
    255,
  ];
  return Uint8Array.from([...bytes, ...options]);
}

function ip4(address: string): number[] {
  return address.split('.').map(Number);
}
