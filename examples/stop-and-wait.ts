/**
 * A protocol of one's own: messages over UDP, one at a time, each repeated until it is
 * acknowledged.
 *
 * Numbers count up to `numbers` and begin anew, and it is for the fuzzer (fuzz.test.ts) to find out
 * how many are enough. Both ends live here, on two host ports of a switch whose clock is manual, so
 * that a transfer over a link that loses, repeats, delays and spoils frames takes microseconds.
 */

import type { ProcessPort, Switch } from 'tsvswitch';
import { parse, udp4 } from 'tsvswitch/testing';

const roundTripMs = 20;
/** Enough for the worst link that the fuzzer thinks of. */
const triesMax = 1000;
const toReceiver = {
  ...{ from: '52:54:00:00:00:01', source: '10.0.0.1', sourcePort: 4000 },
  ...{ to: '52:54:00:00:00:02', target: '10.0.0.2', targetPort: 4000 },
};
const toSender = {
  ...{ from: toReceiver.to, source: toReceiver.target, sourcePort: 4000 },
  ...{ to: toReceiver.from, target: toReceiver.source, targetPort: 4000 },
};

/** Sends messages from one port to the other and returns those that the receiver took for new. */
export function transfer(
  vswitch: Switch,
  [sender, receiver]: readonly [ProcessPort, ProcessPort],
  messages: readonly string[],
  numbers: number,
): string[] {
  const delivered: string[] = [];
  for (const [index, text] of messages.entries()) {
    const number = index % numbers;
    let acknowledged = false;
    for (let tries = 0; tries < triesMax && !acknowledged; tries++) {
      sender.send(udp4({ ...toReceiver, payload: `${number} ${text}` }));
      vswitch.advance(roundTripMs / 2);
      for (const [number, text] of receiver.take().flatMap(messageOf)) {
        if (number === delivered.length % numbers) delivered.push(text);
        receiver.send(udp4({ ...toSender, payload: `${number} ` }));
      }
      vswitch.advance(roundTripMs / 2);
      acknowledged = sender
        .take()
        .flatMap(messageOf)
        .some(([acked]) => acked === number);
    }
  }
  return delivered;
}

/** The number and the text of a frame that has arrived as it was sent; nothing of any other. */
function messageOf(frame: Uint8Array): [number: number, text: string][] {
  const { ip4, udp, payload } = parse(frame);
  if (!ip4?.checksumOk || !udp?.checksumOk) return [];
  const message = Buffer.from(payload).toString();
  const space = message.indexOf(' ');
  return [[Number(message.slice(0, space)), message.slice(space + 1)]];
}
