/** The machine a result was made on, as it goes into the result. */

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { freeHugePageBytes } from './proc.ts';

export interface Machine {
  readonly cpuModel: string;
  readonly cpus: number;
  readonly hypervisor: boolean;
  readonly memoryBytes: number;
  readonly freeHugePageBytes: number;
  readonly kernel: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    cpuModel: cpus()[0]?.model ?? 'unknown',
    cpus: availableParallelism(),
    hypervisor: /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')),
    memoryBytes: totalmem(),
    freeHugePageBytes: freeHugePageBytes(),
    kernel: release(),
    node: process.version,
  };
}
