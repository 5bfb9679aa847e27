/**
 * Waits until a machine that was started can be worked with, and reports how far it has come.
 *
 * A machine is ready when it accepts the lab's key over ssh and its cloud-init, if it has one, is
 * done. The forwarded port is probed for the ssh server's greeting first, which costs the booting
 * guest next to nothing. A machine whose user-data is all the user's own need not know our key: it
 * counts as ready when it runs.
 *
 * User-data may have the machine restart or switch itself off (`power_state`,
 * `package_reboot_if_required`, `reboot` in a command). So a machine that is about to go down is
 * not ready yet, and one that has been reset begins anew. One that switches itself off is reported
 * as that.
 *
 * QEMU reports its own end and a panic of the guest meanwhile (machine/qmp.ts); either ends the
 * wait.
 *
 * Source: cloud-init cc_power_state_change.py, cc_package_update_upgrade_install.py; systemctl(1),
 * org.freedesktop.login1(5).
 */

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, isAlive, type ProcessRecord } from '../machine/detached-process.ts';
import { Qmp } from '../machine/qmp.ts';
import { type ExecResult, runOverSsh, type SshTarget } from '../machine/ssh.ts';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { deathOf, readTail } from './death.ts';
import { sshTarget } from './login.ts';
import type { LabStage } from './report.ts';
import { failIfDead, type StartRequest } from './start.ts';
import type { MachineFiles } from './state.ts';
import { runOverConsole } from './uml-exec.ts';

/** A cloud image takes a minute and a half without KVM on an idle host. */
const readyLimitMs = { kvm: 300_000, tcg: 900_000 } as const;
const umlLimitMs = 300_000;
const lookPauseMs = 200;
const lookPauseMaxMs = 5000;
const greetingLimitMs = 1500;
const patienceMs = 60_000;
const goneLimitMs = 5000;
/** What ssh ends with when it is not let in, or loses the connection. */
const noConnection = 255;
const goesDown = 'goes down';

/** How far a machine has come. */
interface Boot {
  stage: LabStage;
  restarts: number;
}

/**
 * Waits until cloud-init has done everything or is not wanted, and prints whether the machine stays
 * up, and how it went. With `$1` it returns only once the machine stays. `cloud-init status --wait`
 * keeps a Python busy in a guest that has better things to do, and knows nothing of what comes
 * after it: power_state forks a process that waits for cloud-init to end and then runs `shutdown`,
 * and what that has asked for the system knows before it ends. So the processes are looked at
 * first. Root asks systemd itself; others ask over D-Bus, which is among the first to go.
 */
export const cloudInitEnd = `command -v cloud-init >/dev/null || exit 0
until [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/disabled ]; do sleep 1; done
while grep -Eqsx 'cloud-init|shutdown|reboot|poweroff|halt' /proc/[0-9]*/comm; do sleep 1; done
goesDown() {
  [ -e /run/systemd/shutdown/scheduled ] && return
  state=$(sudo -n systemctl is-system-running 2>/dev/null)
  [ -n "$state" ] || state=$(systemctl is-system-running 2>/dev/null)
  [ "$state" = stopping ] && return
  [ -z "$state" ] && [ -S /run/dbus/system_bus_socket ] && return
  login1=org.freedesktop.login1
  set -- "$login1" "/org/freedesktop/login1" "$login1.Manager" PreparingForShutdown
  [ "$(busctl get-property "$@" 2>/dev/null)" = 'b true' ]
}
[ -z "$1" ] || while goesDown; do sleep 1; done
if goesDown; then echo ${goesDown}; else echo stays; fi
cat /run/cloud-init/result.json 2>/dev/null
exit 0`;

/** Throws MACHINE_FAILED if it ends, panics, or is not ready within the limit. */
export async function machineReady(
  request: StartRequest,
  process: ProcessRecord,
  limitMs: number = limitOf(request),
): Promise<void> {
  const { machine, state, signal } = request;
  if (machine.engine === 'uml') return umlReady(request, process);
  const files = state.filesOf(machine.name);
  const boot: Boot = { stage: 'boot', restarts: 0 };
  const abandon = new AbortController();
  const timer = setTimeout(() => abandon.abort(late(request, limitMs, boot)), limitMs);
  const qmp = await Qmp.connect(machine.name, files.qmpSocket);
  let isGone = false;
  qmp.on('close', () => {
    isGone = true;
    abandon.abort(new Error('QEMU has ended'));
  });
  const signals = [abandon.signal, ...(signal === undefined ? [] : [signal])];
  try {
    await untilReset(qmp, { ...request, signal: AbortSignal.any(signals) }, boot);
  } catch (error) {
    signal?.throwIfAborted();
    // The monitor closes a moment before QEMU is gone.
    if (isGone) await ended(process, goneLimitMs);
    failIfOff(machine.name, files, process);
    failIfDead(machine.name, files, process, machine.engine);
    // What was waited for says only that it was given up, not why.
    abandon.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    qmp.removeAllListeners('close');
    qmp.close();
  }
}

/** Goes all the way, and once more from its beginning whenever the machine has been reset. */
async function untilReset(qmp: Qmp, request: StartRequest, boot: Boot): Promise<void> {
  const signal = request.signal!;
  for (;;) {
    const reset = new AbortController();
    const hear = ({ name }: { readonly name: string }) => {
      if (name === 'RESET') reset.abort(new Error('the machine has restarted'));
    };
    qmp.on('event', hear);
    try {
      const detail = boot.restarts === 0 ? undefined : 'restarted';
      await steps({ ...request, signal: AbortSignal.any([signal, reset.signal]) }, boot, detail);
      return;
    } catch (error) {
      if (signal.aborted || !reset.signal.aborted) throw error;
      boot.restarts++;
    } finally {
      qmp.off('event', hear);
    }
  }
}

function limitOf({ engines }: StartRequest): number {
  return engines.qemu === undefined ? umlLimitMs : readyLimitMs[engines.qemu.accelerator];
}

/** Its supervisor runs the first command when the guest has booted. */
async function umlReady(
  { machine, state, progress, signal }: StartRequest,
  process: ProcessRecord,
): Promise<void> {
  const files = state.filesOf(machine.name);
  progress({ stage: 'boot', state: 'running' });
  try {
    const options = { limitMs: umlLimitMs, ...(signal === undefined ? {} : { signal }) };
    await runOverConsole(machine.name, files.execSocket, 'true', options);
  } catch (error) {
    signal?.throwIfAborted();
    await ended(process, goneLimitMs);
    failIfDead(machine.name, files, process, 'uml');
    throw error;
  }
  progress({ stage: 'boot', state: 'done' });
  progress({ stage: 'ready', state: 'done' });
}

async function steps(request: StartRequest, boot: Boot, detail: string | undefined): Promise<void> {
  const { machine, state, image, progress } = request;
  const sshPort = request.sshPort!;
  const signal = request.signal!;
  if (machine.userData?.mode === 'replace') {
    progress({ stage: 'ready', state: 'done', detail: 'runs, and boots with its own user-data' });
    return;
  }
  const target = await sshTarget(state, machine, sshPort);
  boot.stage = 'boot';
  progress({ stage: 'boot', state: 'running', ...(detail === undefined ? {} : { detail }) });
  await untilGreeted(sshPort, signal);
  progress({ stage: 'boot', state: 'done' });
  const limitMs = limitOf(request);
  if (image.type === 'disk') await cloudInit(request, target, limitMs, boot);
  else {
    boot.stage = 'ssh';
    progress({ stage: 'ssh', state: 'running' });
    await onceLetIn(target, 'true', limitMs, signal);
    progress({ stage: 'ssh', state: 'done' });
  }
  progress({ stage: 'ready', state: 'done' });
}

/**
 * Two knock at once. One gives up soon and comes again, since what a guest without a network has
 * lost is sent again only after ever longer pauses. The other one has patience with a guest so slow
 * that its ssh server, which serves few strangers at a time, would still be busy with those who
 * have left.
 */
async function untilGreeted(port: number, signal: AbortSignal): Promise<void> {
  const greeted = new AbortController();
  const ended = AbortSignal.any([signal, greeted.signal]);
  try {
    await Promise.race([knock(port, greetingLimitMs, ended), knock(port, patienceMs, ended)]);
  } finally {
    greeted.abort();
  }
}

async function knock(port: number, limitMs: number, signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  while (!(await greets(port, limitMs, signal))) {
    const pauseMs = Math.min((performance.now() - beganMs) / 30, lookPauseMaxMs);
    await sleep(Math.max(pauseMs, lookPauseMs), undefined, { signal });
  }
}

/** QEMU accepts for every guest, and hangs up if the guest does not. */
function greets(port: number, limitMs: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const leave = () => settle(false);
    const settle = (isThere: boolean) => {
      signal.removeEventListener('abort', leave);
      socket.destroy();
      resolve(isThere);
    };
    signal.addEventListener('abort', leave);
    socket.setTimeout(limitMs, leave);
    socket.once('data', (bytes) => settle(bytes.toString('latin1').startsWith('SSH-')));
    socket.once('error', leave);
    socket.once('close', leave);
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
  { machine, sshPort, progress, signal }: StartRequest,
  target: SshTarget,
  limitMs: number,
  boot: Boot,
): Promise<void> {
  boot.stage = 'cloud-init';
  progress({ stage: 'cloud-init', state: 'running' });
  for (let stays = false, wait = ''; !stays; wait = 'wait') {
    const line = `set -- ${wait}\n${cloudInitEnd}`;
    const { stdout, stderr, status } = await onceLetIn(target, line, limitMs, signal!);
    if (status !== 0) {
      throw failure('machine-not-allowed', { name: machine.name, status, stderr });
    }
    const { errors, willGoDown } = parsedEnd(stdout);
    if (errors.length > 0) {
      throw failure('cloud-init-failed', { name: machine.name, errors: errors.join('\n') });
    }
    stays = !willGoDown;
    if (stays) continue;
    progress({ stage: 'cloud-init', state: 'running', detail: 'goes down by itself' });
    await untilGreeted(sshPort!, signal!);
  }
  progress({ stage: 'cloud-init', state: 'done' });
}

/** What cloudInitEnd has printed. */
function parsedEnd(text: string): { errors: readonly string[]; willGoDown: boolean } {
  const [first = '', ...rest] = text.split('\n');
  const result = rest.join('\n');
  return {
    errors: result === '' ? [] : JSON.parse(result).v1.errors,
    willGoDown: first === goesDown,
  };
}

/** Throws MACHINE_FAILED if its guest has switched the machine off. */
function failIfOff(name: string, files: MachineFiles, process: ProcessRecord): void {
  if (isAlive(process) || !deathOf(name, files).isShutdown) return;
  throw failure('machine-switched-off', { name });
}

function late({ machine, state }: StartRequest, limitMs: number, boot: Boot): TsvswitchError {
  const { name } = machine;
  const shown = readTail(state.filesOf(name).consoleLog).join('\n');
  const limit = `within ${limitMs / 1000} s`;
  const what =
    boot.stage === 'cloud-init'
      ? `nobody could log in, or cloud-init was not done, ${limit}: \`tsvswitch lab exec ${name} ` +
        `tail /var/log/cloud-init-output.log\` tells which`
      : `nobody could log in ${limit}`;
  // One restart may reset the machine more than once.
  const restarts = boot.restarts === 0 ? '' : ', having restarted by itself';
  return failure('machine-late', { name, what, restarts, shown });
}
