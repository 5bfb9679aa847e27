/**
 * A machine's serial console in this terminal: bytes go both ways as they are, until Ctrl-] or the
 * machine ends.
 *
 * The console is a unix socket of QEMU's that serves one visitor at a time and lets others wait in
 * silence, so whether somebody is there already is looked up first. Source: proc(5),
 * /proc/net/unix.
 */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { failure } from '../../model/errors.ts';

/** Ctrl-], as in telnet and `virsh console`. */
const escapeByte = 0x1d;
/** State SS_CONNECTED: of a listening socket's path only where a visitor was let in. */
const connectedState = '03';

export async function attachConsole(name: string, path: string): Promise<void> {
  if (await hasVisitor(path)) {
    throw failure('console-taken', { name });
  }
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (cause) {
    throw failure('console-gone', { name, cause: (cause as Error).message }, { cause });
  }
  const { stdin, stderr } = process;
  stderr.write(`Console of ${name}; Ctrl-] leaves it, Enter shows a prompt.\n`);
  stdin.setRawMode?.(true);
  try {
    await bridge(socket);
  } finally {
    stdin.setRawMode?.(false);
    stdin.destroy();
    socket.destroy();
    stderr.write(`\nLeft the console of ${name}.\n`);
  }
}

/** Returns when the visitor leaves, standard input ends, or the console does. */
function bridge(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on('data', (bytes: Buffer) => {
      const escapeAt = bytes.indexOf(escapeByte);
      socket.write(escapeAt === -1 ? bytes : bytes.subarray(0, escapeAt));
      if (escapeAt !== -1) socket.end();
    });
    process.stdin.once('end', () => socket.end());
    socket.on('data', (bytes) => process.stdout.write(bytes));
    // An error is followed by 'close', and a console that breaks off is one that is over.
    socket.on('error', () => {});
    socket.once('end', resolve);
    socket.once('close', () => resolve());
  });
}

async function hasVisitor(path: string): Promise<boolean> {
  const sockets = await readFile('/proc/net/unix', 'utf8');
  return sockets.split('\n').some((line) => {
    const [, , , , , state, , ...rest] = line.split(/ +/);
    return state === connectedState && rest.join(' ') === path;
  });
}
