/**
 * The switch as tests have it: part of the process that measures, opened by each trial for itself.
 */

import type { Driver } from './driver.ts';
import { tsvswitch } from './tsvswitch.ts';

export const inProcess: Driver = {
  name: 'tsvswitch in a test',
  unavailable: tsvswitch.unavailable,
  version: tsvswitch.version,
  start: async () => ({
    pid: undefined,
    attachment: { kind: 'sockets', paths: [] },
    startMs: 0,
    stop: async () => {},
  }),
};
