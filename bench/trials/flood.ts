/**
 * Every transmitq full, every receiveq drained: how many frames a second arrive, all ports added.
 */

import { type FrameSize, flood, type Ring, type Touch } from '../client.ts';
import type { Need } from '../drivers/driver.ts';
import type { ChartPlace, Trial } from './trial.ts';

export interface FloodShape {
  readonly frame: Exclude<FrameSize, 'tso'>;
  readonly touch: Touch;
  readonly ports?: number;
  readonly ring?: Ring;
  readonly workers?: 1 | 2;
  readonly checks?: 'none';
  readonly charts?: readonly ChartPlace[];
}

/** What an Ethernet port carries unless told otherwise, tagged. */
const ordinaryFrameBytesMax = 1518;

function sizeName(frame: FloodShape['frame']): string {
  return frame === 'imix' ? 'IMIX' : `${frame} B`;
}

export function floodTrial(shape: FloodShape): Trial {
  const { frame, touch, ports = 2, ring, workers, checks, charts = [] } = shape;
  const name = [
    `flood ${sizeName(frame)}`,
    `client touches ${touch}`,
    ...(ports === 2 ? [] : [`${ports} ports`]),
    ...(ring === undefined ? [] : [`${ring} rings`]),
    ...(workers === undefined ? [] : [`${workers} worker${workers === 1 ? '' : 's'}`]),
    ...(checks === undefined ? [] : ['without checks']),
  ].join(', ');
  const needs: Need[] = [
    ...(frame !== 'imix' && frame > ordinaryFrameBytesMax ? (['jumbo'] as const) : []),
    ...(ring === 'packed' ? (['packed'] as const) : []),
    ...(workers === 2 ? (['second worker'] as const) : []),
    ...(checks === 'none' ? (['no checks'] as const) : []),
  ];
  return {
    name,
    ports,
    needs,
    measures: [{ name, unit: 'Mpps', decimals: 2, better: 'higher', charts }],
    run: async ({ subject, quiet, ...span }) => {
      const traffic = { frame, touch, ...(ring === undefined ? {} : { ring }) };
      const { result, ...verdict } = await quiet.measure(subject.pid, () =>
        flood(subject.attachment, traffic, span),
      );
      return { values: [result.deliveredMpps], details: result, ...verdict };
    },
  };
}

/** Two ports and frames of one size; the smallest is also where more ports begin. */
export function sizeTrial(frame: FloodShape['frame'], touch: Touch): Trial {
  const id = touch === 'headers' ? 'flood-headers' : 'flood-bytes';
  const charts: ChartPlace[] = [{ id, category: sizeName(frame) }];
  if (frame === 64 && touch === 'headers') charts.push(portsPlace(2));
  return floodTrial({ frame, touch, charts });
}

export function portsTrial(ports: number): Trial {
  return floodTrial({ frame: 64, touch: 'headers', ports, charts: [portsPlace(ports)] });
}

function portsPlace(ports: number): ChartPlace {
  return { id: 'ports', category: `${ports} ports` };
}
