/**
 * A cluster of three processes is cut in two, and grows together again.
 *
 * Every node (cluster-node.mjs) is a process with a card on the switch. The leader is cut off:
 * alone it has no quorum and must step down, while the two others elect another one. When the
 * partition heals all three follow the first leader again.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tsvswitch/testing/vitest';
import { expect, vi } from 'vitest';

const names = ['node1', 'node2', 'node3'];
const script = new URL('cluster-node.mjs', import.meta.url);
/** A node notices within a second and a bit. */
const soon = { timeout: 60_000, interval: 20 };

test('a leader that is cut off steps down, and is back when the partition heals', async ({
  vswitch,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-'));
  const nodes: ChildProcess[] = [];
  /** Whom each node follows. */
  const leaders: Record<string, string> = {};
  try {
    for (const name of names) {
      const { path } = vswitch.addPort({ path: join(folder, `${name}.sock`) });
      const node = fork(script, [path, name, String(names.length)]);
      node.on('message', (said: { name: string; leader: string }) => {
        leaders[said.name] = said.leader;
      });
      nodes.push(node);
    }
    const agreed = { node1: 'node1', node2: 'node1', node3: 'node1' };
    await vi.waitFor(() => expect(leaders).toEqual(agreed), soon);

    vswitch.partition(['node1'], ['node2', 'node3']);
    const split = { node1: 'nobody', node2: 'node2', node3: 'node2' };
    await vi.waitFor(() => expect(leaders).toEqual(split), soon);

    vswitch.heal();
    await vi.waitFor(() => expect(leaders).toEqual(agreed), soon);
  } finally {
    for (const node of nodes) node.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
