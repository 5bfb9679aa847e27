/**
 * A test that fails, run by a vitest of its own: its capture is there afterwards, and its path is
 * told.
 */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { decodeCapture } from '../../src/index.ts';

const testFile = (source: string) => `
import { expect, test } from 'vitest';
import { Switch } from '${source}/index.ts';
import { keepOnFailure } from '${source}/testing/capture-on-failure.ts';

for (const frames of [1, 2]) {
  test(\`sees \${frames}\`, async () => {
    await using vswitch = Switch.open({ clock: 'manual' });
    const port = vswitch.addPort({ process: 'a' });
    const capture = vswitch.capture();
    keepOnFailure(capture);
    port.send(new Uint8Array(60).fill(2));
    vswitch.step();
    expect(capture.packets()).toHaveLength(frames);
  });
}
`;

test('keepOnFailure() keeps the frames of a test that fails, and of no other', async () => {
  // Below the project, where vitest finds its packages.
  mkdirSync('build', { recursive: true });
  const folder = mkdtempSync(join('build', 'keep-'));
  try {
    writeFileSync(join(folder, 'fails.test.ts'), testFile(resolve('src')));
    writeFileSync(join(folder, 'vitest.config.ts'), 'export default {};');
    const run = await execa('vitest', ['run', '--root', folder], {
      preferLocal: true,
      reject: false,
      all: true,
    });
    const said = stripVTControlCharacters(run.all);
    expect(said).toContain('1 failed | 1 passed');
    const kept = join(folder, '.vitest-attachments');
    const files = readdirSync(kept);
    expect(files).toHaveLength(1);
    expect(said).toContain(`frames of "sees 2": ${resolve(kept, files[0]!)}`);
    const packets = decodeCapture(readFileSync(join(kept, files[0]!)));
    expect(packets.map(({ comments }) => comments)).toEqual([['dropped: hairpin']]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
