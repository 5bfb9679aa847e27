/** Paths of sockets, which are absolute in settings, and no longer than the kernel has room for. */

import { relative } from 'node:path';

/** Of struct sockaddr_un, without the byte that ends it. */
const pathBytesMax = 107;

/** How `path` is given to the kernel: from the working folder, if only that is short enough. */
export function reachable(path: string): string {
  if (Buffer.byteLength(path) <= pathBytesMax) return path;
  const shorter = relative(process.cwd(), path);
  return Buffer.byteLength(shorter) <= pathBytesMax ? shorter : path;
}

/** Permissions of a socket file, from three octal digits. */
export function modeOf(digits: string): number {
  return Number.parseInt(digits, 8);
}
