/**
 * The snippets of a document: fenced blocks with their language, and what the document says of
 * running them.
 *
 * A comment in the line above a block, which no reader of the page sees, says how it is run where
 * that is not as it stands and to its end:
 *
 *     <!-- runs: no, REASON -->          not at all; a test that the reason names has to be there
 *     <!-- runs: compiled, REASON -->    compiled only
 *     <!-- runs: until TEXT -->          until it has printed this, then it is interrupted
 *     <!-- runs: beside COMMAND -->      while this command runs, which takes requests
 */

import { existsSync, readFileSync } from 'node:fs';

export type Running =
  | { readonly how: 'whole' }
  | { readonly how: 'no' | 'compiled'; readonly reason: string }
  | { readonly how: 'until'; readonly text: string }
  | { readonly how: 'beside'; readonly command: string };

export interface Snippet {
  /** Such as README.md:12, where its text begins. */
  readonly place: string;
  readonly language: string;
  readonly text: string;
  readonly running: Running;
}

const fence = /^```(\S*)$/;
const mark = /^<!-- runs: (.*) -->$/;

/**
 * Throws if a block does not end, is indented in place of fenced, or has a mark that means nothing.
 */
export function snippetsOf(document: string): Snippet[] {
  const lines = readFileSync(document, 'utf8').split('\n');
  const snippets: Snippet[] = [];
  for (let at = 0; at < lines.length; at++) {
    const language = fence.exec(lines[at]!)?.[1];
    if (language === undefined) {
      refuseIndented(document, lines, at);
      continue;
    }
    const end = lines.indexOf('```', at + 1);
    if (end === -1) throw new Error(`${document}:${at + 1}: the block does not end`);
    const place = `${document}:${at + 2}`;
    const running = runningOf(place, mark.exec(lines[at - 1] ?? '')?.[1]);
    const text = `${lines.slice(at + 1, end).join('\n')}\n`;
    snippets.push({ place, language, text, running });
    at = end;
  }
  return snippets;
}

/** What Markdown takes for code as well, and nobody would run. */
function refuseIndented(document: string, lines: readonly string[], at: number): void {
  if (/^( {4}|\t)\S/.test(lines[at]!) && lines[at - 1] === '') {
    throw new Error(`${document}:${at + 1}: indented code; fence it and name its language`);
  }
}

function runningOf(place: string, text: string | undefined): Running {
  if (text === undefined) return { how: 'whole' };
  const [, how, rest = ''] = /^(no|compiled|until|beside)(?:, | )(.+)$/.exec(text) ?? [];
  switch (how) {
    case 'no':
    case 'compiled':
      for (const [file] of rest.matchAll(/\btest\/[\w./-]*\w/g)) {
        if (!existsSync(file)) throw new Error(`${place}: there is no ${file}`);
      }
      return { how, reason: rest };
    case 'until':
      return { how, text: rest };
    case 'beside':
      return { how, command: rest };
  }
  throw new Error(`${place}: "runs: ${text}" means nothing; see test/docs/snippets.ts`);
}
