/** What a lab file can call an image, and how getting one is watched and given up. Types only. */

export type ImageSource =
  | { readonly type: 'tiny' }
  | { readonly type: 'debian' }
  /** `path` is absolute. */
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'url'; readonly url: string; readonly checksum: Checksum };

export interface Checksum {
  readonly algorithm: 'sha256' | 'sha512';
  /** In hexadecimal, in lower case. */
  readonly sum: string;
}

export interface ImageProgress {
  /** In a few words, such as "downloading". */
  readonly phase: string;
  /** From 0 to 1, where it is known. */
  readonly fraction?: number;
}

export interface ImageOptions {
  readonly progress?: (progress: ImageProgress) => void;
  readonly signal?: AbortSignal;
}
