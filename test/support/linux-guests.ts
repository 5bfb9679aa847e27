/**
 * Machines for tests that need a Linux virtio-net driver and nothing of QEMU's: User-mode Linux,
 * which boots in a second or two without KVM, or QEMU where that is not installed.
 */

import { prepareEngine } from '../../src/tiny/engine.ts';
import type { Engine } from '../../src/tiny/network.ts';

export async function linuxEngine(machines: number): Promise<Engine> {
  try {
    return await prepareEngine('uml', machines);
  } catch (error) {
    console.warn(`machines are QEMU's: ${(error as Error).message}`);
    return prepareEngine('qemu', machines);
  }
}
