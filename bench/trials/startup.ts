/**
 * From the command to sockets that are there, in units of starting Node and doing nothing, which is
 * measured next to it so that the ratio is one of the same minute.
 */

import { run } from '../process.ts';
import type { Trial } from './trial.ts';

const nodeLimitMs = 10_000;
const nodeRuns = 3;

export const startupTrial: Trial = {
  name: 'startup',
  ports: 2,
  needs: ['process'],
  measures: [
    { name: 'command to sockets ready', unit: 'ms', decimals: 0, better: 'lower' },
    { name: 'the same in units of `node -e 0`', unit: 'x', decimals: 1, better: 'lower' },
  ],
  run: async ({ subject }) => {
    let nodeMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < nodeRuns; i += 1) {
      const startedMs = performance.now();
      await run(process.execPath, ['-e', '0'], { limitMs: nodeLimitMs });
      nodeMs = Math.min(nodeMs, performance.now() - startedMs);
    }
    return { values: [subject.startMs, subject.startMs / nodeMs], details: { nodeMs } };
  },
};
