/** What machines of a tiny network are made of here, prepared for so many of them. */

import { chooseMemory } from './host.ts';
import { probeKvm } from './kvm.ts';
import { tinyGuest } from './tiny-guest.ts';
import { type Engine, tinyMemoryMiB } from './tiny-network.ts';
import { umlMemoryFolder } from './uml.ts';
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
