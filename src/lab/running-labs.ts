/**
 * The labs of this user that have a switch now, for commands that talk to one.
 *
 * It reads the records that labs keep (state.ts), and passes over what it does not understand.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive } from '../machine/detached-process.ts';
import { type LabRecord, labsFolder, recordFile, recordVersion } from './state.ts';

/** A lab that is up, and where its switch is talked to. */
export interface RunningLab {
  readonly name: string;
  /** The lab file. */
  readonly file: string;
  readonly control: string;
}

/** In the order of their names. Labs that share a switch are all there. */
export function runningLabs(environment: NodeJS.ProcessEnv = process.env): RunningLab[] {
  const folder = labsFolder(environment);
  return namesIn(folder)
    .sort()
    .flatMap((id) => {
      const record = recordIn(join(folder, id));
      if (record?.version !== recordVersion || record.switch === undefined) return [];
      const { control, process } = record.switch;
      const isUp = process === undefined ? existsSync(control) : isAlive(process);
      return isUp ? [{ name: record.name, file: record.file, control }] : [];
    });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // There never was a lab, or it is not for us to know.
    return [];
  }
}

function recordIn(folder: string): LabRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, recordFile), 'utf8'));
  } catch {
    return undefined;
  }
}
