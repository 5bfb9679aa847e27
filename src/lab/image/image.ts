/**
 * From what a lab file calls an image to something a machine boots from.
 *
 * An image is the user's own file, a download (download.ts), a Debian built here (debian.ts), or
 * the tiny guest, which has no disk. The last three live in the cache folder. A disk is looked at
 * before it is used (qemu-img.ts) and never written to: machines write into overlays (overlay.ts).
 */

import type { DirectBoot } from '../../machine/qemu.ts';
import { debianImage } from './debian.ts';
import { downloadedImage } from './download.ts';
import { type DiskImage, inspectImage } from './qemu-img.ts';
import type { ImageOptions, ImageSource } from './source.ts';

/**
 * Without `boot` the disk has a boot loader; with it, it is the first virtio disk of a machine that
 * QEMU boots so.
 */
export type BaseImage =
  | { readonly type: 'tiny' }
  | ({ readonly type: 'disk'; readonly boot?: DirectBoot } & DiskImage);

export async function baseImage(
  source: ImageSource,
  options: ImageOptions = {},
): Promise<BaseImage> {
  options.signal?.throwIfAborted();
  switch (source.type) {
    case 'tiny':
      return { type: 'tiny' };
    case 'file':
      return { type: 'disk', ...(await inspectImage(source.path)) };
    case 'debian':
      return { type: 'disk', ...(await debianImage(options)) };
    case 'url': {
      const path = await downloadedImage(source.url, source.checksum, options);
      return { type: 'disk', ...(await inspectImage(path)) };
    }
  }
}
