/**
 * Lines for the journal: a number in front of each becomes its priority, so that `journalctl -p
 * warning` finds what went wrong.
 *
 * Source: sd-daemon(3).
 */

/** LOG_ERR, LOG_WARNING, LOG_INFO and LOG_DEBUG of syslog(3). */
const priorities = { error: 3, warn: 4, info: 6, debug: 7 } as const;

/** Each line of `text` at the level. */
export function withPriority(level: keyof typeof priorities, text: string): string {
  return text.replaceAll(/^(?=.)/gm, `<${priorities[level]}>`);
}
