/**
 * Whether this process may take connections: not while another one serves the same sockets, before
 * it hands over and after.
 *
 *     the one before:  open ── handed over ──► closed ── taken back ──► open
 *     the next one:    closed from its start ── took over ──► open
 *
 * Who listens or connects joins with what stops it and what lets it go on. Of this process and no
 * switch, as stored-listeners.ts.
 */

export interface Gated {
  readonly hold: () => void;
  readonly goOn: () => void;
}

const members = new Set<Gated>();
let isOpen = true;

export const gate = {
  get isOpen(): boolean {
    return isOpen;
  },

  /** Whoever joins has to look whether it is open. */
  join(member: Gated): void {
    members.add(member);
  },

  leave(member: Gated): void {
    members.delete(member);
  },

  close(): void {
    if (!isOpen) return;
    isOpen = false;
    for (const member of members) member.hold();
  },

  open(): void {
    if (isOpen) return;
    isOpen = true;
    for (const member of members) member.goOn();
  },
};
