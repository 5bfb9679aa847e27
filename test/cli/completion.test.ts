/**
 * Completion as the shells do it: each reads the script that the command prints for it, and is
 * asked what could stand behind a line. Names come from a switch that runs.
 */

import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { execa, execaSync } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { Command, script } from '../support/command.ts';
import { needs } from '../support/needs.ts';

let folder: string;
let env: Readonly<Record<string, string>>;

const inFolder = (name: string) => join(folder, name);
/** Whoever evaluates it makes a file. */
const nasty = () => `$(touch ${inFolder('evaluated')})`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'completion-'));
  const program = inFolder('tsvswitch');
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`);
  chmodSync(program, 0o755);
  const control = inFolder('control.sock');
  env = { PATH: `${folder}${delimiter}${process.env.PATH}`, TSVSWITCH_CONTROL: control };
  const switched = await Command.start(
    [inFolder('web.sock'), inFolder('db.sock')],
    ['--control', control],
  );
  await switched.said('taking requests');
  await using client = await ControlClient.connect(control);
  await client.addPort({ path: inFolder('mac.sock'), name: '52:54:00:00:00:01' });
  await client.addPort({ path: inFolder('nasty.sock'), name: nasty(), bridge: 'blue' });
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(inFolder(shell), (await Command.run(['completion', shell])).stdout);
  }
});

afterAll(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

/** Bash gives a function the line, and takes the array. */
async function bash(line: string): Promise<string[]> {
  const program = `
    source ${inFolder('bash')}
    compopt() { :; }
    COMP_LINE=$1 COMP_POINT=\${#1}
    $(complete -p tsvswitch | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await execa('bash', ['-c', program, 'bash', line], { env });
  return stdout.split('\n').filter((word) => word !== '');
}

async function fish(line: string): Promise<string[]> {
  const program = 'source $argv[1]; complete --do-complete $argv[2]';
  const { stdout } = await execa('fish', ['--no-config', '-c', program, inFolder('fish'), line], {
    env,
  });
  return stdout.split('\n').map((word) => word.split('\t')[0]!);
}

/** What stands on a terminal once somebody has typed the line and the key for completion. */
async function zsh(line: string): Promise<string> {
  const program = `
    zmodload zsh/zpty
    zpty -b shell 'zsh -f -i'
    read_until() {
      local part; output=''
      for try in {1..200}; do
        while zpty -r -t shell part 2>/dev/null; do output+=$part; done
        [[ $output == *$1* ]] && return
        sleep 0.05
      done
    }
    zpty -w shell "autoload -Uz compinit; compinit -u -D; source $1; PS1=; print rea''dy"
    read_until ready
    zpty -w -n shell "$2"$'\\t'
    read_until "$3"
    print -r -- "$output"`;
  const words = [line, wantedOf(line)];
  const { stdout } = await execa('zsh', ['-f', '-c', program, 'zsh', inFolder('zsh'), ...words], {
    env: { ...env, TERM: 'dumb' },
  });
  return stdout;
}

/** A word that only a completed line has. */
const completed: Readonly<Record<string, string>> = {
  'tsvswitch sho': 'show ',
  'tsvswitch log-level ': 'debug',
  'tsvswitch show ports --so': '--sort ',
  'tsvswitch port remove w': 'web ',
};
const wantedOf = (line: string) => completed[line]!;

const missing = (program: string) =>
  execaSync('which', [program], { reject: false }).exitCode === 0 ? undefined : `needs ${program}`;

const lines: [string, string[]][] = [
  ['tsvswitch sho', ['show']],
  ['tsvswitch log-level ', ['debug', 'error', 'info', 'warn']],
  ['tsvswitch show ports --so', ['--sort']],
  ['tsvswitch show --sort drops po', ['ports']],
  ['tsvswitch port remove w', ['web']],
  ['tsvswitch --socket x --log-format j', ['json']],
  ['tsvswitch show ports --bridge b', ['blue']],
  ['tsvswitch nonsense ', []],
];

describe.each([
  ['bash', bash],
  ['fish', fish],
] as const)('%s', (shell, complete) => {
  describe('completes', needs(missing(shell)), () => {
    test.each(lines)('%j', async (line, words) => {
      const [got] = [await complete(line)];
      if (words.length === 0) expect(got).not.toContain('ports');
      else expect(got.toSorted()).toEqual(words);
    });

    test('no part of what was typed, and no name, is run', async () => {
      await complete(`tsvswitch port remove ${nasty()} `);
      const names = await complete('tsvswitch snippet ');
      expect(names.join('\n')).toContain('touch');
      expect(existsSync(inFolder('evaluated'))).toBe(false);
    });
  });
});

test('bash is given what is behind the last colon of a name', async () => {
  expect(await bash('tsvswitch snippet 52:54:00:')).toEqual(['00:00:01']);
});

describe('zsh completes', needs(missing('zsh')), () => {
  test.each(Object.entries(completed))('%j', async (line, wanted) => {
    expect(await zsh(line)).toContain(wanted);
  });
});

test('the words are those of the commands: every one of them is known to each script', async () => {
  const { stdout } = await Command.run(['--help']);
  const names = Array.from(stdout.matchAll(/^ {2}([a-z][a-z-]+) {2,}/gm), ([, name]) => name!);
  expect(names.length).toBeGreaterThan(15);
  expect((await bash('tsvswitch ')).toSorted()).toEqual(names.toSorted());
});
