/** Who may do what over a control socket, by the permissions of its file and by who connects. */

import { chmodSync, lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ControlOptions, ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';
import { Command, type Exit, script } from '../support/command.ts';
import { needsRoot } from '../support/needs.ts';
import { ask } from './raw-client.ts';

const nobody = { uid: 65_534, gid: 65_534 };

let folder: string;
let control: string;
let vswitch: Switch;
let server: ControlServer;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'access-'));
  chmodSync(folder, 0o755);
  control = join(folder, 'control');
  vswitch = Switch.open();
  vswitch.addPort({ process: 'a' });
});

afterEach(() => {
  server?.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

const listen = (options: Omit<ControlOptions, 'path'>) => {
  server = ControlServer.listen(vswitch, { path: control, ...options });
};
const modeOf = () => lstatSync(control).mode & 0o777;
const asNobody = (line: string): Promise<Exit> =>
  Command.run([...line.split(' '), '--control', control], nobody);

test.each([
  [{}, 0o600],
  [{ mode: 0o640 }, 0o640],
  [{ group: process.getgid!() }, 0o660],
  [{ readers: process.getgid!() }, 0o660],
  [{ readers: process.getgid!(), mode: 0o666 }, 0o666],
  [{ group: 7, readers: 8 }, 0o666],
])('%j gives the file its permissions', (options, mode) => {
  listen(options);
  expect(modeOf()).toBe(mode);
});

test.each([{ group: 'no-such-group', readers: 0 }, { readers: 'no-such-group' }])(
  '%j is refused, and nothing listens',
  (options) => {
    expect(() => listen(options)).toThrow(/there is no group no-such-group/);
    expect(() => lstatSync(control)).toThrow();
  },
);

test('the user of the switch may do everything, also beside readers', async () => {
  listen({ readers: process.getgid!() });
  expect((await ask(control, 'DELETE', '/v1/ports/a')).status).toBe(204);
});

describe('another user', needsRoot, () => {
  test('of the group of readers may look, and change and capture nothing', async () => {
    listen({ readers: nobody.gid });
    expect(await asNobody('show ports -q')).toEqual({
      ...{ status: 0, signal: null, stdout: 'a\n', stderr: '' },
    });
    for (const line of ['port remove a', 'worker add', 'heal', 'capture a --to /dev/null']) {
      const exit = await asNobody(line);
      expect(exit, line).toMatchObject({ status: 1, stdout: '' });
      expect(exit.stderr).toMatch(/ is for root and the user of the switch; others only look/);
    }
    expect(vswitch.ports).toHaveLength(1);
    expect(vswitch.workers).toHaveLength(1);
  });

  test('of a group that was let in may do everything', async () => {
    listen({ group: nobody.gid });
    expect(await asNobody('port remove a')).toMatchObject({ status: 0, stderr: '' });
    expect(vswitch.ports).toEqual([]);
  });

  describe('by a supplementary group', () => {
    /** Somebody whose own group is nobody's, and who is in `groups` besides. */
    const inGroups = async (groups: string, line: string) => {
      const who = [`--reuid=${nobody.uid}`, `--regid=${nobody.gid}`, `--groups=${groups}`];
      const words = [process.execPath, script, ...line.split(' '), '--control', control];
      const { exitCode, stderr } = await execa('setpriv', [...who, ...words], {
        reject: false,
        timeout: 60_000,
      });
      return { status: exitCode, stderr };
    };
    const [changers, readers, others] = [4242, 4243, 4244];

    test('of readers may look', async () => {
      listen({ readers });
      expect(await inGroups(`${others},${readers}`, 'status')).toMatchObject({ status: 0 });
      expect(await inGroups(`${readers}`, 'port remove a')).toMatchObject({ status: 1 });
      expect(await inGroups(`${others}`, 'status')).toMatchObject({ status: 3 });
      expect(vswitch.ports).toHaveLength(1);
    });

    test('of one that may change beside readers does so, and of neither is refused', async () => {
      listen({ group: changers, readers });
      expect(await inGroups(`${readers}`, 'status')).toMatchObject({ status: 0 });
      const refused = await inGroups(`${readers}`, 'port remove a');
      expect(refused.stderr).toMatch(/others only look$/);
      const stranger = await inGroups(`${others}`, 'status');
      expect(stranger).toEqual({
        status: 1,
        stderr: 'tsvswitch: user 65534 is in neither group that this control socket is for',
      });
      expect(vswitch.ports).toHaveLength(1);
      expect(await inGroups(`${others},${changers}`, 'port remove a')).toMatchObject({ status: 0 });
      expect(vswitch.ports).toEqual([]);
    });
  });

  test('of no such group does not come in', async () => {
    listen({});
    expect(await asNobody('status')).toMatchObject({ status: 3, stdout: '' });
  });
});
