/** What machines of a tiny network are made of here, prepared for so many of them. */

import { probeKvm } from '../machine/kvm.ts';
import { chooseMemory } from '../machine/memory.ts';
import { umlMemoryFolder } from '../machine/uml.ts';
import { tinyGuest } from './guest.ts';
import { type Engine, tinyMemoryMiB } from './network.ts';
import { umlGuest } from './uml-guest.ts';

export const engineTypes = ['qemu', 'uml'] as const;

export async function prepareEngine(type: Engine['type'], machines: number): Promise<Engine> {
  const sizesMiB = Array.from({ length: machines }, () => tinyMemoryMiB);
  if (type === 'uml') {
    return { type, guest: await umlGuest(), memoryFolder: await umlMemoryFolder(sizesMiB) };
  }
  const guest = await tinyGuest();
  const [{ accelerator }, { memory }] = await Promise.all([
    probeKvm(guest.kernel.image),
    chooseMemory(sizesMiB),
  ]);
  return { type, guest, accelerator, memory };
}
