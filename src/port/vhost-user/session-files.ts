/**
 * The files that a session has been given, kept for whoever goes on with it: a copy of each, under
 * what it is to the session (vhost-user/snapshot.ts).
 *
 * It stands between a session and its backend, where every file passes by.
 */

import { native } from '../../native/addon.ts';
import type { Backend } from '../../vhost-user/backend.ts';
import { type FileRole, memoryRole } from '../../vhost-user/snapshot.ts';

export class SessionFiles {
  readonly #fds = new Map<FileRole, number>();
  #revision = 0;

  /** The same backend; files are copied before it takes them over. */
  keeping(backend: Backend): Backend {
    return {
      ...backend,
      setMemory: (regions) => {
        for (const role of this.#fds.keys()) if (role.startsWith('memory ')) this.#drop(role);
        for (const region of regions) this.#keep(memoryRole(region), region.fd);
        backend.setMemory(regions);
      },
      addMemoryRegion: (region) => {
        this.#keep(memoryRole(region), region.fd);
        backend.addMemoryRegion(region);
      },
      removeMemoryRegion: (region) => {
        backend.removeMemoryRegion(region);
        this.#drop(memoryRole(region));
      },
      startQueue: (queue, start) => {
        this.#keep(`kick ${queue}`, start.kickFd);
        backend.startQueue(queue, start);
      },
      setCall: (queue, fd) => {
        this.#keep(`call ${queue}`, fd);
        backend.setCall(queue, fd);
      },
      setErr: (queue, fd) => {
        this.#keep(`err ${queue}`, fd);
        backend.setErr(queue, fd);
      },
      setLog: (log) => {
        this.#keep('log', log?.fd ?? -1);
        backend.setLog(log);
      },
      openChannel: (fd, reader) => {
        this.#keep('channel', fd);
        return backend.openChannel(fd, reader);
      },
    };
  }

  /** Another one whenever files are others. */
  get revision(): number {
    return this.#revision;
  }

  /** Still this object's. */
  fd(role: FileRole): number | undefined {
    return this.#fds.get(role);
  }

  /** Idempotent. */
  close(): void {
    for (const role of this.#fds.keys()) this.#drop(role);
  }

  /** In place of the last one; -1: there is none any more. */
  #keep(role: FileRole, fd: number): void {
    this.#drop(role);
    if (fd === -1) return;
    this.#revision += 1;
    try {
      this.#fds.set(role, native().dupFd(fd));
    } catch {
      // Fds have run out, or it was none: without it the session cannot be kept, and goes on.
    }
  }

  #drop(role: FileRole): void {
    const fd = this.#fds.get(role);
    if (fd === undefined) return;
    this.#revision += 1;
    this.#fds.delete(role);
    native().closeFd(fd);
  }
}
