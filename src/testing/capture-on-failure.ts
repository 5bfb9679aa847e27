/**
 * What a capture has recorded, kept when a test of vitest fails: as a pcapng file among its
 * attachments (`attachmentsDir`, `.vitest-attachments` unless configured), named in the test's
 * output.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFailed, recordArtifact, type TestAttachment } from 'vitest';
import type { Capture } from '../index.ts';

declare module 'vitest' {
  interface TestArtifactRegistry {
    capture: { type: 'tsvswitch:capture'; attachments: TestAttachment[] };
  }
}

/** To be called while the test runs. The capture may be closed by the time the test fails. */
export function keepOnFailure(capture: Capture): void {
  onTestFailed(async ({ task }) => {
    // vitest copies what it is given as a path, and only that.
    const folder = await mkdtemp(join(tmpdir(), 'capture-'));
    try {
      const path = join(folder, 'frames.pcapng');
      await writeFile(path, capture.pcapng());
      const { attachments } = await recordArtifact(task, {
        type: 'tsvswitch:capture',
        attachments: [{ contentType: 'application/x-pcapng', path }],
      });
      console.info(`frames of "${task.name}": ${attachments[0]!.path}`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}
