/**
 * A writer for the cpio "newc" format, the one an initramfs has to have.
 *
 * Pure: entries in, bytes out, the same bytes for the same entries. Every entry belongs to root and
 * has time stamp 0. Parent folders are added where they are missing. No reader, no hard links, no
 * compression (the kernel would only have to undo it, slowly, in an emulated machine).
 *
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 */

export type CpioEntry =
  | { readonly type: 'folder'; readonly path: string }
  | {
      readonly type: 'file';
      readonly path: string;
      readonly content: Uint8Array;
      readonly executable: boolean;
    }
  | { readonly type: 'link'; readonly path: string; readonly target: string }
  | {
      readonly type: 'character-device';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
    };

const magic = '070701';
const trailer = 'TRAILER!!!';
const folderMode = 0o040755;
const fileMode = 0o100644;
const executableMode = 0o100755;
const linkMode = 0o120777;
const characterDeviceMode = 0o020600;

/** The archive of `entries`; paths are relative to the root, without a leading slash. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  for (const entry of withParentFolders(entries)) {
    parts.push(record(entry.path, modeOf(entry), inode++, deviceOf(entry), contentOf(entry)));
  }
  parts.push(record(trailer, 0, 0, [0, 0], Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function withParentFolders(entries: readonly CpioEntry[]): CpioEntry[] {
  const known = new Set<string>();
  const complete: CpioEntry[] = [];
  for (const entry of entries) {
    const names = entry.path.split('/');
    for (let depth = 1; depth < names.length; depth++) {
      const parent = names.slice(0, depth).join('/');
      if (known.has(parent)) continue;
      known.add(parent);
      complete.push({ type: 'folder', path: parent });
    }
    if (known.has(entry.path)) continue;
    known.add(entry.path);
    complete.push(entry);
  }
  return complete;
}

function modeOf(entry: CpioEntry): number {
  switch (entry.type) {
    case 'folder':
      return folderMode;
    case 'file':
      return entry.executable ? executableMode : fileMode;
    case 'link':
      return linkMode;
    case 'character-device':
      return characterDeviceMode;
  }
}

function deviceOf(entry: CpioEntry): [major: number, minor: number] {
  return entry.type === 'character-device' ? [entry.major, entry.minor] : [0, 0];
}

function contentOf(entry: CpioEntry): Uint8Array {
  switch (entry.type) {
    case 'file':
      return entry.content;
    case 'link':
      return Buffer.from(entry.target);
    default:
      return Buffer.alloc(0);
  }
}

function record(
  path: string,
  mode: number,
  inode: number,
  [deviceMajor, deviceMinor]: [major: number, minor: number],
  content: Uint8Array,
): Buffer {
  const name = Buffer.from(`${path}\0`);
  const links = 1;
  const fields = [
    inode,
    mode,
    0, // owner
    0, // group
    links,
    0, // time stamp
    content.length,
    0, // the device the file was read from, major
    0, // and minor
    deviceMajor,
    deviceMinor,
    name.length,
    0, // checksum, unused in this variant
  ];
  const header = magic + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  // Name and content each end on a multiple of four bytes, counted from the start of the record.
  return Buffer.concat([
    padded(Buffer.concat([Buffer.from(header), name])),
    padded(Buffer.from(content)),
  ]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
