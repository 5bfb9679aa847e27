/**
 * The feature bits a vhost-user port offers: those of which the data plane does its part. The protocol
 * side can serve more (`servable` in vhost-user/features.ts); a bit is switched on by adding it here.
 */

import { type Offer, servable } from '../vhost-user/features.ts';

export const offer: Offer = servable;
