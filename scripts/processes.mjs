/**
 * How set-up starts programs: quietly, with all they say in a log, or in the foreground.
 *
 * The log lies in the cache folder, one for each task, started anew each time. A quiet program that
 * fails is shown with the end of what it said. Nothing here knows what the programs do.
 */

import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Something a person has to mend; the message says how. */
export class SetupError extends Error {}

const shownLinesMax = 30;
let logFile;

/** $XDG_CACHE_HOME/tsvswitch or ~/.cache/tsvswitch, as in src/machine/cache.ts. */
export function cacheFolder() {
  const base = process.env.XDG_CACHE_HOME;
  return base?.startsWith('/')
    ? join(base, 'tsvswitch')
    : join(process.env.HOME || homedir(), '.cache', 'tsvswitch');
}

export function openLog(name, firstLine) {
  mkdirSync(cacheFolder(), { recursive: true });
  logFile = join(cacheFolder(), `${name}.log`);
  writeFileSync(logFile, `${firstLine}\n`);
}

/** Says what is going on, in one line. */
export function say(line) {
  console.log(line);
  appendFileSync(logFile, `== ${line}\n`);
}

/** What a short program prints, or undefined if it fails or does not exist. */
export function outputOf(program, args) {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout : undefined;
}

/** Runs a program into the log and returns whether it succeeded, with its output. */
export function runQuietly(program, args, environment = {}) {
  appendFileSync(logFile, `$ ${[program, ...args].join(' ')}\n`);
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    let output = '';
    const take = (text) => {
      output += text;
      appendFileSync(logFile, text);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', (error) => resolve({ succeeded: false, output: error.message }));
    child.on('close', (status) => resolve({ succeeded: status === 0, output }));
  });
}

/** Like runQuietly, for what has to succeed. */
export async function runOrExplain(program, args, environment) {
  const { succeeded, output } = await runQuietly(program, args, environment);
  if (succeeded) return;
  const end = output.trimEnd().split('\n').slice(-shownLinesMax).join('\n');
  throw new SetupError(
    `${end}\n\n\`${[program, ...args].join(' ')}\` failed; all of its output is in ${logFile}`,
  );
}

/** Runs a program with this terminal and returns its exit status, as a shell would give it. */
export function runInForeground(program, args, environment = {}) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...environment };
    const child = spawn(program, args, { stdio: 'inherit', env });
    // The program has things to put away; it decides when it is over.
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const forward = (signal) => child.kill(signal);
    for (const signal of signals) process.on(signal, forward);
    child.on('error', reject);
    child.on('close', (status) => {
      for (const signal of signals) process.off(signal, forward);
      resolve(status ?? 1);
    });
  });
}
