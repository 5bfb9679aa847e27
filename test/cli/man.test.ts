/** The manual page that the build makes: what mandoc says of it, and that it has every command. */

import { readFileSync } from 'node:fs';
import { execa, execaSync } from 'execa';
import { describe, expect, test } from 'vitest';
import { allCommands, commandTree } from '../../src/cli/command-tree.ts';
import { needs } from '../support/needs.ts';

const page = 'dist/man/tsvswitch.1';
const hasMandoc = execaSync('which', ['mandoc'], { reject: false }).exitCode === 0;

describe('tsvswitch(1)', needs(hasMandoc ? undefined : 'needs mandoc'), () => {
  test('is written as manual pages are', async () => {
    const { stdout, exitCode } = await execa('mandoc', ['-Tlint', page], { reject: false });
    expect(stdout).toBe('');
    expect(exitCode).toBe(0);
  });

  test('has every command with its options', async () => {
    const { stdout } = await execa('mandoc', ['-Tascii', '-O', 'width=1000', page]);
    // Bold is a letter twice, with a backspace between.
    const shown = stdout
      .split('\b')
      .map((part, i, all) => (i < all.length - 1 ? part.slice(0, -1) : part))
      .join('');
    for (const { path, commands, options } of allCommands(await commandTree())) {
      if (commands.length === 0) expect(shown).toContain(`\n   ${path.join(' ')}`);
      for (const { flags } of options) expect(shown).toContain(`\n       ${flags}`);
    }
  });
});

test('is in the package', () => {
  const { man, files } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(man).toBe(`./${page}`);
  expect(files).toContain('dist');
});
