/**
 * Ports that are bound to sources: what an operator sees of a guest that sends from others, and
 * what can be asked for. Which frames pass is in native/test/policy/source_rule_test.cc.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PortOptions, type SourceOptions, Switch } from '../../src/index.ts';
import { arp, describe as wordsOf } from '../../src/testing/index.ts';
import { ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';
import { dropsOf, SwitchNetwork } from '../support/network.ts';

let network: SwitchNetwork;

/** Port 0 is bound, port 1 is not. */
function open(source: SourceOptions): void {
  network = SwitchNetwork.open(0);
  network.vswitch.addPort({ path: network.path(0), source });
  network.addPort();
}

describe('a guest that sends from other sources than its port is bound to', () => {
  afterEach(() => network.close());

  test('loses these frames, once told by each reason in a session, and no others', async () => {
    open({ macs: [macOf(0)], addresses: ['10.0.0.1', 'fd00::/64'] });
    const [a, b] = await network.connectAll();
    const ask = (senderMac: string, senderIp: string) =>
      arp({ senderMac, senderIp, targetIp: '10.0.0.9' });
    const own = ask(macOf(0), '10.0.0.1');
    for (const frame of [
      ask(macOf(7), '10.0.0.1'),
      ask(macOf(0), '10.0.0.2'),
      frameBetween(0, 1),
      ask(macOf(7), '10.0.0.2'),
      own,
    ]) {
      await a!.send(frame);
    }
    await a!.flush();
    expect(Buffer.compare(await b!.receive(), Buffer.from(own))).toBe(0);
    expect(b!.pendingFrames).toBe(0);
    expect(dropsOf(network.port(0).counters)).toEqual({ spoofedMac: 2, spoofedAddress: 2 });
    await network.event('mac-learned');
    const sentences = network.eventsOf('source-spoofed').map(({ sentence }) => sentence);
    expect(sentences).toEqual([
      `port p0: dropped a frame from ${macOf(7)}, which it is not bound to; all such are counted as spoofedMac`,
      'port p0: dropped a frame from 10.0.0.2, which it is not bound to; all such are counted as spoofedAddress',
    ]);
    expect(network.vswitch.bridge.fdb.map(({ mac }) => mac)).toEqual([macOf(0)]);
  });

  test('is told of anew when its machine has left and another has come', async () => {
    open({ macs: [macOf(0)] });
    for (let session = 1; session <= 2; session++) {
      const guest = await network.connect(0);
      await guest.send(ethernetFrame({ from: macOf(7), to: macOf(1) }));
      await guest.flush();
      await network.event('source-spoofed', session);
      await guest.close();
      await network.event('frontend-left', session);
    }
  });

  test('and sends what shows no source is told by its EtherType', async () => {
    open({ addresses: ['fd00::1'] });
    const guest = await network.connect(0);
    await guest.send(frameBetween(0, 1));
    const { sentence } = await network.event('source-spoofed');
    expect(sentence).toBe(
      'port p0: dropped a frame of EtherType 0x88b5, whose source cannot be checked; all such are counted as spoofedAddress',
    );
  });
});

test('ports of this process are bound too', () => {
  const vswitch = Switch.open({ clock: 'manual' });
  const a = vswitch.addPort({ process: 'a', source: { addresses: ['10.0.0.0/31'] } });
  const b = vswitch.addPort({ process: 'b' });
  for (const senderIp of ['10.0.0.0', '10.0.0.1', '10.0.0.2']) {
    a.send(arp({ senderMac: macOf(0), senderIp, targetIp: '10.0.0.9' }));
  }
  vswitch.step(2);
  expect(b.take().map(wordsOf)).toEqual([
    'ARP who-has 10.0.0.9 tell 10.0.0.0',
    'ARP who-has 10.0.0.9 tell 10.0.0.1',
  ]);
  expect(dropsOf(a.counters)).toEqual({ spoofedAddress: 1 });
  vswitch.close();
});

describe('a rule that cannot be is one sentence, and adds no port', () => {
  beforeEach(() => {
    network = SwitchNetwork.open(0);
  });
  afterEach(() => network.close());

  test.each<[string, unknown, RegExp]>([
    ['null', null, /^source: null is not an object with macs, addresses/],
    ['a text', 'mac', /^source: mac is not an object with/],
    ['nothing', {}, /neither macs nor addresses are listed; leave it out to allow all/],
    ['empty lists', { macs: [], addresses: [] }, /neither macs nor addresses/],
    ['another field', { mac: [] }, /there is no mac; did you mean macs\?/],
    ['no list', { macs: macOf(0) }, /macs is not a list of at most 64/],
    ['too long a list', { addresses: Array(65).fill('10.0.0.1') }, /not a list of at most 64/],
    [
      'a short MAC',
      { macs: ['52:54:00:00:00'] },
      /"52:54:00:00:00" is not the MAC address of a card/,
    ],
    ['a group MAC', { macs: ['01:00:5e:00:00:01'] }, /is not the MAC address of a card/],
    ['MAC 0', { macs: ['00:00:00:00:00:00'] }, /is not the MAC address of a card/],
    ['a number', { macs: [1] }, /^source: 1 is not the MAC address/],
    ['an address in part', { addresses: ['10.0.0'] }, /"10.0.0" is not an IP address or network/],
    ['too long a prefix', { addresses: ['10.0.0.0/33'] }, /"10.0.0.0\/33" is not an IP address/],
    ['too long a prefix of IPv6', { addresses: ['fd00::/129'] }, /is not an IP address or network/],
    ['a zone', { addresses: ['fe80::1%eth0'] }, /is not an IP address or network/],
    ['a name', { addresses: ['localhost'] }, /"localhost" is not an IP address or network/],
  ])('%s', (_, source, message) => {
    const options = { path: network.path(0), source } as PortOptions;
    expect(() => network.vswitch.addPort(options)).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION', message: expect.stringMatching(message) }),
    );
    expect(network.vswitch.ports).toEqual([]);
  });
});
