/** What a frontend may choose of the features that it was offered. Pure. */

import { type FeatureTable, featureNames, notOffered, protocolFeatures } from './features.ts';
import { refusal } from './refusal.ts';

/** vhost-user "In-band notifications". */
const inbandNeeds = [
  'VHOST_USER_PROTOCOL_F_BACKEND_REQ',
  'VHOST_USER_PROTOCOL_F_REPLY_ACK',
] as const;

/** Throws Refusal. */
export function checkOffered(chosen: bigint, offered: bigint, table: FeatureTable): void {
  const surplus = notOffered(chosen, offered);
  if (surplus === 0n) return;
  throw refusal('features-not-offered', { features: featureNames(surplus, table) });
}

/** Throws Refusal. */
export function checkProtocolChoice(chosen: bigint, offered: bigint): void {
  checkOffered(chosen, offered, protocolFeatures);
  if ((chosen & protocolFeatures.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) === 0n) return;
  const missing = inbandNeeds.find((name) => (chosen & protocolFeatures[name]) === 0n);
  if (missing === undefined) return;
  const feature = 'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS';
  throw refusal('feature-alone', { feature, missing });
}
