/**
 * Which running switch a command means that names none: the one at the usual path, or else that of
 * the only lab that runs. Standard output is the command's; that a lab was chosen is said beside
 * it.
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { defaultControlPath } from '../control/default-path.ts';
import type { RunningLab } from '../lab/running-labs.ts';
import { failure } from '../model/errors.ts';

/**
 * For the option --control; without a default of its own, so that it is known whether it was given.
 */
export const controlDescription =
  `control socket or URL of the switch (default: ${defaultControlPath()}, or the only lab's ` +
  'that runs)';

/**
 * `given` if it is, or what the variable TSVSWITCH_CONTROL says, and for `command` (as people type
 * it) what it means without. Throws CONTROL_UNREACHABLE if that could be several.
 */
export async function controlPath(given: string | undefined, command: string): Promise<string> {
  const usual = defaultControlPath();
  const named = given ?? process.env.TSVSWITCH_CONTROL;
  if (named !== undefined && named !== '') return named;
  if (await isListening(usual)) return usual;
  const { runningLabs } = await import('../lab/running-labs.ts');
  const labs = oneForEachSwitch(runningLabs());
  const [only] = labs;
  // The client says what is wrong with the usual path.
  if (only === undefined) return usual;
  if (labs.length === 1) {
    process.stderr.write(`tsvswitch: this is the switch of lab ${only.name} (${only.control})\n`);
    return only.control;
  }
  const commands = labs.map(
    ({ name, file, control }) => `  ${command} --control ${control}  # lab ${name} of ${file}`,
  );
  throw failure('control-which', { path: usual, labs: labs.length, commands: commands.join('\n') });
}

/** A socket that may not be connected to counts: who asks for it shall hear of that. */
async function isListening(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    return !['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code!);
  } finally {
    socket.destroy();
  }
}

function oneForEachSwitch(labs: readonly RunningLab[]): RunningLab[] {
  return [...new Map(labs.map((lab) => [lab.control, lab])).values()];
}
