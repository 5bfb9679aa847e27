/**
 * Waits until a machine that was started is one to work with, and says how far it has come.
 *
 * Ready is who lets the lab's key in, after cloud-init has done everything it was told, where there is
 * a cloud-init. An ssh server that greets is looked for on the forwarded port first, which costs the
 * booting guest next to nothing. A machine whose user-data is all the user's own need not know our key:
 * it counts as ready when it runs.
 *
 * Meanwhile QEMU is listened to (qmp.ts): when it ends, by itself or because the guest panicked, so does
 * the waiting.
 */

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsvswitchError } from '../errors.ts';
import { ended, type ProcessRecord } from './detached-process.ts';
import { readTail } from './lab-death.ts';
import { failIfDead, type StartRequest } from './lab-start.ts';
import { Qmp } from './qmp.ts';
import { type ExecResult, runOverSsh, type SshTarget, sshTarget } from './ssh.ts';

/** A cloud image takes a minute and a half without KVM on an idle host. */
const readyLimitMs = { kvm: 300_000, tcg: 900_000 } as const;
const lookPauseMs = 200;
const greetingLimitMs = 1500;
const goneLimitMs = 5000;
/** What ssh ends with when it is not let in, or loses the connection. */
const noConnection = 255;
/**
 * Waits until cloud-init has done everything or is not wanted, and prints how it went. `cloud-init status
 * --wait` says the same and keeps a Python busy in a guest that has better things to do.
 */
const cloudInitEnd = `command -v cloud-init >/dev/null || exit 0
until [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/disabled ]; do sleep 1; done
cat /run/cloud-init/result.json 2>/dev/null`;

/** Throws MACHINE_FAILED if it ends, panics, or takes too long. */
export async function machineReady(request: StartRequest, process: ProcessRecord): Promise<void> {
  const { machine, state, host, signal } = request;
  const files = state.filesOf(machine.name);
  const limitMs = readyLimitMs[host.accelerator];
  const abandon = new AbortController();
  const timer = setTimeout(() => abandon.abort(late(request, limitMs)), limitMs);
  const qmp = await Qmp.connect(machine.name, files.qmpSocket);
  qmp.on('event', ({ name }) => {
    if (name === 'RESET')
      request.progress({ stage: 'boot', state: 'running', detail: 'restarted' });
  });
  let isGone = false;
  qmp.on('close', () => {
    isGone = true;
    abandon.abort(new Error('QEMU has ended'));
  });
  const signals = [abandon.signal, ...(signal === undefined ? [] : [signal])];
  try {
    await steps({ ...request, signal: AbortSignal.any(signals) });
  } catch (error) {
    signal?.throwIfAborted();
    // The monitor closes a moment before QEMU is gone.
    if (isGone) await ended(process, goneLimitMs);
    failIfDead(machine.name, files, process);
    throw error;
  } finally {
    clearTimeout(timer);
    qmp.removeAllListeners('close');
    qmp.close();
  }
}

async function steps(request: StartRequest): Promise<void> {
  const { machine, state, host, image, sshPort, progress } = request;
  const signal = request.signal!;
  if (machine.userData?.mode === 'replace') {
    progress({ stage: 'ready', state: 'done', detail: 'runs, and boots with its own user-data' });
    return;
  }
  const target = await sshTarget(state, machine, sshPort);
  progress({ stage: 'boot', state: 'running' });
  while (!(await greets(sshPort))) await sleep(lookPauseMs, undefined, { signal });
  progress({ stage: 'boot', state: 'done' });
  const limitMs = readyLimitMs[host.accelerator];
  if (image.type === 'disk') await cloudInit(request, target, limitMs, signal);
  else {
    progress({ stage: 'ssh', state: 'running' });
    await onceLetIn(target, 'true', limitMs, signal);
    progress({ stage: 'ssh', state: 'done' });
  }
  progress({ stage: 'ready', state: 'done' });
}

/** QEMU accepts for every guest, and hangs up if the guest does not. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(greetingLimitMs, () => settle(false));
    socket.once('data', (bytes) => settle(bytes.toString('latin1').startsWith('SSH-')));
    socket.once('error', () => settle(false));
    socket.once('close', () => settle(false));
  });
}

/** Runs a command as soon as the machine lets the lab's key in. Ended by `signal` at the latest. */
async function onceLetIn(
  target: SshTarget,
  command: string,
  limitMs: number,
  signal: AbortSignal,
): Promise<ExecResult> {
  for (;;) {
    const result = await runOverSsh(target, command, { limitMs, signal });
    if (result.status !== noConnection) return result;
    await sleep(lookPauseMs, undefined, { signal });
  }
}

/** One login for all of it, since an emulated guest that still boots spends seconds on each. */
async function cloudInit(
  { machine, progress }: StartRequest,
  target: SshTarget,
  limitMs: number,
  signal: AbortSignal,
): Promise<void> {
  progress({ stage: 'cloud-init', state: 'running' });
  const { stdout } = await onceLetIn(target, cloudInitEnd, limitMs, signal);
  const errors: readonly string[] = stdout === '' ? [] : JSON.parse(stdout).v1.errors;
  if (errors.length > 0) {
    throw new TsvswitchError(
      'MACHINE_FAILED',
      `${machine.name}: cloud-init failed; see /var/log/cloud-init.log in it:\n${errors.join('\n')}`,
    );
  }
  progress({ stage: 'cloud-init', state: 'done' });
}

function late({ machine, state }: StartRequest, limitMs: number): TsvswitchError {
  const shown = readTail(state.filesOf(machine.name).consoleLog).join('\n');
  return new TsvswitchError(
    'MACHINE_FAILED',
    `${machine.name}: nobody could log in within ${limitMs / 1000} s; it runs on, with a console to look at, which shows:\n${shown}`,
  );
}
