/**
 * Names in sentences for people: foreign text made safe for one line, and the known name that a
 * misspelt one is closest to. Pure.
 */

import { closest, distance } from 'fastest-levenshtein';

/**
 * What a terminal would not print, obeys, or shows as the end of a line or as a space that is none.
 */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const shownCharactersMax = 60;

/** `text` in one line: what a terminal would not print, or obey, is written as `\u{1b}`. */
export function printable(text: string): string {
  return text.replaceAll(unprintable, (character) => {
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}

/** What is wrong with a key that is none of `known`: the one that was meant, or all there are. */
export function unknownKey(key: string, known: readonly string[]): string {
  const shown = printable(key.slice(0, shownCharactersMax));
  const meant = nearest(key, known);
  return meant === undefined
    ? `there is no ${shown}; there are ${known.join(', ')}`
    : `there is no ${shown}; did you mean ${meant}?`;
}

/** The one of `known` that `key` is a slip of; undefined if it is near none. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  // Comparing takes time with the length, and what is that long is no slip.
  const typed = plain(key.slice(0, shownCharactersMax));
  // Letters that changed places.
  const sorted = (text: string) => Array.from(plain(text)).sort().join('');
  const anagram = known.find((candidate) => sorted(candidate) === sorted(typed));
  if (anagram !== undefined) return anagram;
  const found = closest(typed, known.map(plain));
  const isNear =
    distance(typed, found) <= Math.max(1, Math.floor(found.length / 3)) ||
    (typed.length > 2 && found.startsWith(typed));
  return isNear ? known.find((candidate) => plain(candidate) === found) : undefined;
}
