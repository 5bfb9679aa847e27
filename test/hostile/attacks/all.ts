/** Every attack there is, in the order of classes. */

import type { Attack } from './attack.ts';
import { brokenRings } from './broken-rings.ts';
import { wearingGuests } from './endurance.ts';
import { lyingFrames, otherLaps } from './frames.ts';
import { lyingFrontends } from './frontends.ts';
import { oddLayouts } from './layouts.ts';
import { racingGuests } from './races.ts';
import { makersOfWork } from './work.ts';

export const attacks: readonly Attack[] = [
  ...brokenRings,
  ...oddLayouts,
  ...lyingFrames,
  otherLaps,
  ...racingGuests,
  ...lyingFrontends,
  ...wearingGuests,
  ...makersOfWork,
].sort((one, other) => one.class - other.class);
