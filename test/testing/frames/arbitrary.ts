/** Any frame that the builders can make, as fast-check sees it. */

import fc from 'fast-check';
import type { FrameFields } from '../../../src/testing/index.ts';

const whole = (max: number) => fc.integer({ min: 0, max });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });

export const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((six) => Array.from(six, (byte) => byte.toString(16).padStart(2, '0')).join(':'));
const ip4Address = fc.ipV4();
const ip6Address = fc.ipV6();

const options = fc.uint8Array({ maxLength: 10 }).map((some) => {
  const padded = new Uint8Array(Math.ceil(some.length / 4) * 4);
  padded.set(some);
  return padded;
});

const ethernet = fc.record({ to: mac, from: mac });
const vlans = fc.array(
  fc.record({
    id: whole(0xfff),
    priority: whole(7),
    dropEligible: fc.boolean(),
    tpid: fc.constantFrom(0x8100, 0x88a8),
  }),
  { maxLength: 2 },
);

const arp = fc.record({
  operation: fc.oneof(fc.constantFrom('request', 'reply'), fc.integer({ min: 3, max: 0xffff })),
  senderMac: mac,
  senderIp: ip4Address,
  targetMac: mac,
  targetIp: ip4Address,
});

const ip4 = fc.record({
  source: ip4Address,
  target: ip4Address,
  ttl: whole(255),
  tos: whole(255),
  id: whole(0xffff),
  dontFragment: fc.boolean(),
  options,
});

const extensions = fc.array(
  fc.record({
    protocol: fc.constantFrom(0, 43, 60),
    bytes: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((eight) => {
      eight[1] = 0;
      return eight;
    }),
  }),
  { maxLength: 2 },
);

const ip6 = fc.record({
  source: ip6Address,
  target: ip6Address,
  hopLimit: whole(255),
  trafficClass: whole(255),
  flowLabel: whole(0xf_ffff),
  extensions,
});

const ports = { sourcePort: whole(0xffff), targetPort: whole(0xffff) };
const udp = fc.record(ports);
const tcp = fc.record({
  ...ports,
  sequence: whole(0xffff_ffff),
  acknowledgment: whole(0xffff_ffff),
  flags: fc.subarray([...'FSRP.UEW']).map((letters) => letters.join('')),
  window: whole(0xffff),
  urgent: whole(0xffff),
  options,
});

const icmpRest = { code: whole(255), id: whole(0xffff), sequence: whole(0xffff) };
const icmp4 = fc.record({ type: whole(255), ...icmpRest });
const icmp6 = fc.oneof(
  fc.record({ type: whole(255).filter((type) => type !== 135 && type !== 136), ...icmpRest }),
  fc.record({
    type: fc.constantFrom(135, 136),
    ...icmpRest,
    targetIp: ip6Address,
    linkAddress: mac,
  }),
);

const payload = bytes(200);
const link = { ethernet, vlans };

/** Frames of every combination of layers. */
export const anyFrame: fc.Arbitrary<FrameFields> = fc.oneof(
  fc.record({ ...link, arp }),
  fc.record({ ...link, ip4, udp, payload }),
  fc.record({ ...link, ip4, tcp, payload }),
  fc.record({ ...link, ip4, icmp4, payload }),
  fc.record({ ...link, ip6, udp, payload }),
  fc.record({ ...link, ip6, tcp, payload }),
  fc.record({ ...link, ip6, icmp6, payload }),
  fc.record({ ...link, payload }),
);
