/**
 * Files that a frontend may not share, judged before any of them is mapped: those that are not of
 * this host (memory-file.ts), and those that it keeps to itself (private-mapping.ts).
 */

import { failure } from '../../model/errors.ts';
import { type MappedRegion, native } from '../../native/addon.ts';
import { isOfThisHost } from './memory-file.ts';
import { isMappedPrivately } from './private-mapping.ts';

/** Throws MEMORY_UNMAPPABLE, having closed the fds, if one of these files is not of this host. */
export function refuseForeign(files: readonly { readonly fd: number }[]): void {
  if (files.every(({ fd }) => isOfThisHost(fd))) return;
  for (const { fd } of files) native().closeFd(fd);
  throw failure('map-of-other-host');
}

/** Throws MEMORY_UNMAPPABLE, having closed the fds, if process `pid` keeps a region to itself. */
export function refusePrivate(pid: number, regions: readonly MappedRegion[]): void {
  if (!regions.some(({ fd }) => isMappedPrivately(pid, fd))) return;
  for (const { fd } of regions) native().closeFd(fd);
  throw failure('map-private', { pid });
}
