/** `tsvswitch stop` and `log-level`: the process of a running switch, and its log. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Argument, type Command } from 'commander';
import { toJson } from '../../control/json.ts';
import { type LogLevel, logLevels } from '../../model/log-levels.ts';
import { asking, type Everywhere, printJson } from './asking.ts';

/** Its log has a second to be read (log-output.ts). Then it may be one that nobody waits for. */
const exitMsMax = 2000;
const lookMs = 10;

export function addProcess(program: Command): void {
  program
    .command('stop')
    .description('Ends a running switch in order, and returns once it has ended.')
    .action((_: object, command: Command) =>
      asking(command, async (client) => {
        const stopped = await client.stop();
        if (!client.isRemote) await exitOf(stopped.pid);
        printJson(command, stopped);
      }),
    );
  program
    .command('log-level')
    .description('Shows how much a running switch logs, or changes it.')
    .addArgument(new Argument('[level]', 'from the next line on').choices(logLevels))
    .action((level: LogLevel | undefined, _: object, command: Command) =>
      asking(command, async (client) => {
        const log = level === undefined ? await client.log() : await client.setLog({ level });
        const { json } = command.optsWithGlobals<Everywhere>();
        if (json) process.stdout.write(`${toJson(log, 2)}\n`);
        else if (level === undefined) process.stdout.write(`${log.level}\n`);
      }),
    );
}

/** Returns once no process has this number, or it is not ours to see. */
async function exitOf(pid: number): Promise<void> {
  const untilMs = performance.now() + exitMsMax;
  while (isThere(pid) && performance.now() < untilMs) await sleep(lookMs);
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
