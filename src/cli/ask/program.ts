/**
 * The commands that ask a running switch or change it, as one tree: what it is, its help and its
 * suggestions come from here.
 */

import type { Command } from 'commander';
import { newCommand } from '../command.ts';
import { addEverywhere } from './asking.ts';
import { addChanges } from './change.ts';
import { addProcess } from './process.ts';
import { addShow } from './show.ts';
import { addSnippet } from './snippet.ts';
import { addStatus } from './status.ts';

export function define(): Command {
  const program = addEverywhere(newCommand('tsvswitch'));
  for (const add of [addStatus, addShow, addChanges, addProcess, addSnippet]) add(program);
  return program.hook('preAction', () => {
    // Whoever reads no more, such as head, has seen enough.
    process.stdout.on('error', () => process.exit());
  });
}
