/** state.ts: what a lab remembers is whole, its owner's, and never guessed at. */

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
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { planOf } from '../../src/lab/file/plan.ts';
import { Lab } from '../../src/lab/lab.ts';
import { runningLabs } from '../../src/lab/running-labs.ts';
import { LabState } from '../../src/lab/state.ts';
import { end, startDetached, thisProcess } from '../../src/machine/detached-process.ts';
import { needsRoot } from '../support/needs.ts';

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

test('a folder of somebody else is not used', needsRoot, () => {
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

test('a socket path that is too long is found before QEMU finds it, with what makes it so', async () => {
  const runtime = join(folder, 'x'.repeat(90));
  vi.stubEnv('XDG_RUNTIME_DIR', runtime);
  const lab = await Lab.open(definition, { origin: join(folder, 'lab.yaml') });
  await expect(lab.up()).rejects.toMatchObject({
    code: 'SOCKET_PATH_TOO_LONG',
    message: expect.stringContaining(
      `set XDG_RUNTIME_DIR to a folder with a shorter path than ${runtime}, such as /tmp`,
    ),
  });
  await expect(lab.add('vm2', {})).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
  await lab.down({ destroy: true });
});

test('names are never what makes a socket path too long', () => {
  const longest = 'x'.repeat(24);
  for (const runtime of ['/tmp', '/run/user/4294967295']) {
    vi.stubEnv('XDG_RUNTIME_DIR', runtime);
    expect(() => stateOf(longest).refuseLongPaths(longest)).not.toThrow();
  }
});

test('sockets of a lab that runs with another state folder are not touched', async () => {
  const first = stateOf();
  first.save(first.begin());
  const socket = join(first.runtimeFolder, 'vm1.qmp');
  writeFileSync(socket, '');
  const log = join(first.folder, 'log');
  const running = await startDetached('tail', ['-F', socket], {
    log,
    folder,
    mark: first.folder,
  });
  vi.stubEnv('XDG_STATE_HOME', join(folder, 'other'));
  const other = await Lab.open(
    { name: 'pair', machines: { vm1: {} } },
    { origin: join(folder, 'lab.yaml') },
  );
  try {
    const refused = { code: 'LAB_STATE_UNUSABLE', message: expect.stringContaining(first.folder) };
    await expect(other.down({ destroy: true })).rejects.toMatchObject(refused);
    await expect(other.up()).rejects.toMatchObject(refused);
    expect(existsSync(socket)).toBe(true);
  } finally {
    await end(running);
  }
  // What nobody uses any more may go.
  await other.down({ destroy: true });
  expect(existsSync(socket)).toBe(false);
});

test('labs with a switch are found by their records, and others are not', async () => {
  const up = (name: string, file: string, process = thisProcess()) => {
    const plan = planOf({ ...definition, name }, { file: join(folder, file) });
    const state = new LabState(plan);
    state.save({
      ...state.begin(),
      switch: { plan: plan.switch, control: state.control, process },
    });
    return { name, file: join(folder, file), control: state.control };
  };
  const down = stateOf('down');
  down.save(down.begin());
  up('gone', 'c.yaml', { ...thisProcess(), startTicks: 1 });
  const labs = [up('b', 'b.yaml'), up('a', 'a.yaml')];
  const broken = stateOf('broken');
  broken.begin();
  writeFileSync(join(broken.folder, 'state.json'), '{');
  expect(runningLabs()).toEqual(labs.reverse());

  const asked = await execa(process.execPath, ['dist/cli/main.js', 'doctor'], { reject: false });
  expect(asked.exitCode).toBe(3);
  expect(asked.stderr).toMatch(
    /^tsvswitch: no switch runs at .*, and 2 labs have one each; say which/,
  );
  for (const { name, file, control } of labs) {
    expect(asked.stderr).toContain(
      `tsvswitch doctor --control ${control}  # lab ${name} of ${file}`,
    );
  }
});

test('down of a lab that was never up leaves nothing', async () => {
  const lab = await Lab.open(definition, { origin: join(folder, 'lab.yaml') });
  await lab.down();
  const { folder: own } = await lab.status();
  expect(existsSync(own)).toBe(false);
  expect(existsSync(stateOf().runtimeFolder)).toBe(false);
});
