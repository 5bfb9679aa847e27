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
import { runOverSsh, type SshTarget, sshTarget } from './ssh.ts';

/** A cloud image takes a minute and a half without KVM on an idle host. */
const readyLimitMs = { kvm: 300_000, tcg: 900_000 } as const;
const lookPauseMs = 200;
const greetingLimitMs = 1500;
const loginLimitMs = 60_000;
const goneLimitMs = 5000;

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
  const { machine, state, image, sshPort, progress } = request;
  const signal = request.signal!;
  if (machine.userData?.mode === 'replace') {
    progress({ stage: 'ready', state: 'done', detail: 'runs, and boots with its own user-data' });
    return;
  }
  const target = await sshTarget(state, machine, sshPort);
  progress({ stage: 'boot', state: 'running' });
  while (!(await greets(sshPort))) await sleep(lookPauseMs, undefined, { signal });
  progress({ stage: 'boot', state: 'done' });
  progress({ stage: 'ssh', state: 'running' });
  while (!(await letsIn(target, signal))) await sleep(lookPauseMs, undefined, { signal });
  progress({ stage: 'ssh', state: 'done' });
  if (image.type === 'disk') await cloudInit(request, target, signal);
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

async function letsIn(target: SshTarget, signal: AbortSignal): Promise<boolean> {
  try {
    return (await runOverSsh(target, 'true', { limitMs: loginLimitMs, signal })).status === 0;
  } catch (error) {
    if (error instanceof TsvswitchError && error.code === 'TIMEOUT') return false;
    throw error;
  }
}

async function cloudInit(
  { machine, host, progress }: StartRequest,
  target: SshTarget,
  signal: AbortSignal,
): Promise<void> {
  progress({ stage: 'cloud-init', state: 'running' });
  const limitMs = readyLimitMs[host.accelerator];
  const command = 'command -v cloud-init >/dev/null || exit 0; cloud-init status --wait --long';
  const { status, stdout } = await runOverSsh(target, command, { limitMs, signal });
  // 2 is "done, with something to complain about", since cloud-init 23.4.
  if (status !== 0 && status !== 2) {
    throw new TsvswitchError(
      'MACHINE_FAILED',
      `${machine.name}: cloud-init failed; see /var/log/cloud-init.log in it:\n${stdout.trim()}`,
    );
  }
  progress({ stage: 'cloud-init', state: 'done', ...(status === 2 ? { detail: 'degraded' } : {}) });
}

function late({ machine, state }: StartRequest, limitMs: number): TsvswitchError {
  const shown = readTail(state.filesOf(machine.name).consoleLog).join('\n');
  return new TsvswitchError(
    'MACHINE_FAILED',
    `${machine.name}: nobody could log in within ${limitMs / 1000} s; it runs on, with a console to look at, which shows:\n${shown}`,
  );
}
