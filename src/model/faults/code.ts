/** What the tables of this folder say about a code. */

import type { Template } from '../sentence.ts';

export interface CodeFacts {
  /** What has happened, in a few words. */
  readonly means: string;
  /**
   * What it ends: the call or request alone, which has changed nothing; a queue, until its driver
   * starts it anew; a session, until the frontend connects anew; a port; or nothing.
   */
  readonly ends: 'nothing' | 'the call' | 'the queue' | 'the session' | 'the port';
  /** What to do about it, as a sentence. */
  readonly remedy: string;
  /** By fault, which says more than the code: the sentence, which sentence.ts fills. */
  readonly sentences: Readonly<Record<string, Template>>;
}

export type Codes = Readonly<Record<string, CodeFacts>>;
