/** What the environment of a process says of who started it. */

import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isJournal, startedBy } from '../../../src/operate/service/started-by.ts';

const pid = 4711;

describe('the variables of a service manager', () => {
  test('say where to tell it, when, and which fds there are', () => {
    const env = {
      NOTIFY_SOCKET: '/run/systemd/notify',
      WATCHDOG_USEC: '30000000',
      WATCHDOG_PID: `${pid}`,
      LISTEN_FDS: '3',
      LISTEN_PID: `${pid}`,
      LISTEN_FDNAMES: 'web::control',
      HOME: '/nowhere',
    };
    expect(startedBy(env, pid)).toEqual({
      notifySocket: '/run/systemd/notify',
      watchdogUs: 30_000_000,
      fds: [
        { fd: 3, name: 'web' },
        { fd: 4, name: 'unknown' },
        { fd: 5, name: 'control' },
      ],
    });
    // A program that is started from here is another service, or none.
    expect(env).toEqual({ HOME: '/nowhere' });
  });

  test('say nothing where they are not set', () => {
    expect(startedBy({}, pid)).toEqual({ fds: [] });
  });

  test('are for another process, if they say so', () => {
    const env = {
      WATCHDOG_USEC: '30000000',
      WATCHDOG_PID: '1',
      LISTEN_FDS: '3',
      LISTEN_PID: '1',
    };
    expect(startedBy(env, pid)).toEqual({ fds: [] });
    expect(startedBy({ LISTEN_FDS: '3' }, pid).fds).toEqual([]);
  });

  test('a watchdog without WATCHDOG_PID is for every process', () => {
    expect(startedBy({ WATCHDOG_USEC: '1000' }, pid)).toEqual({ watchdogUs: 1000, fds: [] });
  });

  test.each(['0', '-1', '1e3', '0x10', ' 1', '', 'soon', '99999999999999999999'])(
    'numbers that are none say nothing: %j',
    (number) => {
      const env = { WATCHDOG_USEC: number, LISTEN_FDS: number, LISTEN_PID: `${pid}` };
      expect(startedBy(env, pid)).toEqual({ fds: [] });
    },
  );
});

describe('what is written goes to the journal', () => {
  test('if JOURNAL_STREAM is the file that is written to, and not another', () => {
    const folder = mkdtempSync(join(tmpdir(), 'journal-'));
    const [fd, other] = ['a', 'b'].map((name) => openSync(join(folder, name), 'w'));
    const { dev, ino } = fstatSync(fd!, { bigint: true });
    const env = { JOURNAL_STREAM: `${dev}:${ino}` };
    expect(isJournal(fd!, env)).toBe(true);
    // It was redirected by a shell between.
    expect(isJournal(other!, env)).toBe(false);
    expect(isJournal(fd!, {})).toBe(false);
    expect(isJournal(fd!, { JOURNAL_STREAM: `${dev}:` })).toBe(false);
    closeSync(fd!);
    expect(isJournal(fd!, env)).toBe(false);
    closeSync(other!);
    rmSync(folder, { recursive: true });
  });
});
