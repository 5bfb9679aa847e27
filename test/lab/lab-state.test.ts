/** lab-state.ts: what a lab remembers is whole, its owner's, and never guessed at. */

import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { planOf } from '../../src/lab/file/plan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { LabState } from '../../src/lab/lab-state.ts';

const definition = { name: 'pair', machines: { vm1: {} } };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'));
  vi.stubEnv('XDG_STATE_HOME', join(folder, 'state'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'run'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function stateOf(name = 'pair'): LabState {
  return new LabState(planOf({ ...definition, name }, { file: join(folder, 'lab.yaml') }));
}

test('what is saved is loaded again, by nobody but its owner', () => {
  const state = stateOf();
  expect(state.load()).toBeUndefined();
  const record = state.begin();
  state.save(record);
  expect(stateOf().load()).toMatchObject({ name: 'pair', machines: {} });
  expect(existsSync(join(state.folder, 'state.json.new'))).toBe(false);
  for (const path of [state.folder, state.runtimeFolder]) {
    expect(statSync(path).mode & 0o777).toBe(0o700);
  }
  expect(statSync(join(state.folder, 'state.json')).mode & 0o777).toBe(0o600);
});

test('a lab that is up is found where it was brought up, from a session of another kind too', () => {
  const state = stateOf();
  state.save(state.begin());
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'elsewhere'));
  expect(stateOf().runtimeFolder).toBe(state.runtimeFolder);
  rmSync(state.runtimeFolder, { recursive: true });
  expect(stateOf().runtimeFolder).toContain('elsewhere');
});

test.each(['{"version": 1, "mach', '{"version": 2}'])(
  'a record %s is refused with its path',
  (text) => {
    const state = stateOf();
    state.begin();
    writeFileSync(join(state.folder, 'state.json'), text);
    expect(() => state.load()).toThrow(
      expect.objectContaining({
        code: 'LAB_STATE_UNUSABLE',
        message: expect.stringContaining(join(state.folder, 'state.json')),
      }),
    );
  },
);

test('a folder that cannot be made is one sentence, before anything is started', async () => {
  vi.stubEnv('XDG_STATE_HOME', '/dev/null');
  await expect(Lab.open(definition)).rejects.toMatchObject({
    code: 'LAB_STATE_UNUSABLE',
    message: expect.stringMatching(
      /^the lab cannot keep its state in \/dev\/null\/.*XDG_STATE_HOME$/,
    ),
  });
});

test.runIf(process.getuid!() === 0)('a folder of somebody else is not used', () => {
  const state = stateOf();
  mkdirSync(join(state.runtimeFolder, '..'), { recursive: true });
  chownSync(join(state.runtimeFolder, '..'), 65534, 65534);
  expect(() => state.begin()).toThrow(
    expect.objectContaining({
      code: 'LAB_STATE_UNUSABLE',
      message: expect.stringContaining('belongs to user 65534'),
    }),
  );
});

test('a socket path that is too long is found before QEMU finds it', () => {
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'x'.repeat(90)));
  expect(() => stateOf().begin()).toThrow(
    expect.objectContaining({ code: 'SOCKET_PATH_TOO_LONG' }),
  );
});

test('down of a lab that was never up leaves nothing', async () => {
  const lab = await Lab.open(definition, { origin: join(folder, 'lab.yaml') });
  await lab.down();
  const { folder: own } = await lab.status();
  expect(existsSync(own)).toBe(false);
  expect(existsSync(stateOf().runtimeFolder)).toBe(false);
});
