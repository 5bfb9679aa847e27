/**
 * The user-data of a machine: who may log in, and what the lab's file adds.
 *
 * The lab's own cloud-config makes one user with sudo, a password for the console and keys for ssh.
 * The file's is merged into it: objects key by key, lists behind ours, everything else replaces
 * ours, so that `{ packages: [tcpdump], ssh_pwauth: true }` says only what is wanted besides.
 * User-data given as text is passed on as it is.
 *
 * The lab's user is cloud-init's default user, in place of the image's. So whatever acts on that
 * one (`ssh_authorized_keys`, `password`, `ssh_import_id`, `ssh_redirect_user`, `default` among
 * `users`) acts on it, and `users` in any of its forms takes nothing away from it. Only a file
 * whose `user` has another name has a default user of its own, beside the lab's.
 *
 * It is written as JSON, which is YAML in which no text can be mistaken for a number or a truth
 * value by a reader of another YAML version, as cloud-init's is. Passwords leave here hashed only,
 * but those that the file has for cloud-init. Equal input gives equal text: the seed's instance-id
 * (seed.ts) hangs on it.
 *
 * Source: cloud-init documentation, "User data formats" and "Module reference"; cloud-init
 * ug_util.py, cc_set_passwords.py; crypt(5).
 */

import { createHash } from 'node:crypto';
import { encrypt } from 'unixcrypt';
import type { MachinePlan } from '../file/plan.ts';

const saltCharacters = 16;

export function userData(machine: MachinePlan, authorizedKeys: readonly string[]): string {
  if (machine.userData?.mode === 'replace') return machine.userData.content;
  const theirs = withUserAsMapping(machine.userData?.content ?? {});
  const user = {
    name: machine.user,
    // Of the image's default user nothing is to be left.
    gecos: machine.user,
    groups: '',
    shell: '/bin/bash',
    sudo: 'ALL=(ALL) NOPASSWD:ALL',
    lock_passwd: false,
    hashed_passwd: passwordHash(machine),
    ssh_authorized_keys: authorizedKeys,
  };
  const { name = machine.user } = (theirs.user ?? {}) as { name?: unknown };
  const own = cloudConfig(machine, name === machine.user ? { user } : { users: [user] });
  return `#cloud-config\n${json(merged(own, theirs))}`;
}

/** `user: eve` is short for `user: { name: eve }`. */
function withUserAsMapping(config: Readonly<Record<string, unknown>>) {
  return typeof config.user === 'string' ? { ...config, user: { name: config.user } } : config;
}

function cloudConfig(machine: MachinePlan, users: object): object {
  return {
    // sudo wants to resolve the machine's own name.
    manage_etc_hosts: 'localhost',
    ...users,
    disable_root: machine.user !== 'root',
    // Who has to choose a password first is let in by no key either.
    chpasswd: { expire: false },
    ssh_pwauth: false,
    // One is enough, and RSA takes seconds to make without KVM.
    ssh_genkeytypes: ['ed25519'],
  };
}

/** The salt differs between machines and stays for one of them, which is all it is for. */
function passwordHash({ password, managementMac }: MachinePlan): string {
  const salt = createHash('sha256')
    .update(`${managementMac}\0${password}`)
    .digest('base64')
    .replaceAll('+', '.')
    .slice(0, saltCharacters);
  return encrypt(password, `$6$${salt}`);
}

/** `theirs` over `ours`: objects key by key, lists one behind the other, all else theirs. */
export function merged(ours: unknown, theirs: unknown): unknown {
  if (Array.isArray(ours) && Array.isArray(theirs)) return [...ours, ...theirs];
  if (!isObject(ours) || !isObject(theirs)) return theirs;
  // Not by assignment: a key may be called __proto__.
  return Object.fromEntries([
    ...Object.entries(ours),
    ...Object.entries(theirs).map(([key, value]) => [
      key,
      Object.hasOwn(ours, key) ? merged(ours[key], value) : value,
    ]),
  ]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * JSON of printable characters only, since YAML takes no others, and with numbers that YAML 1.1
 * takes for numbers: there 1e-7 is a text, and 1.0e-7 is not.
 */
export function json(value: unknown): string {
  const text = JSON.stringify(value, undefined, 2)
    .replaceAll(/[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g, escaped)
    .replaceAll(/"(?:[^"\\]|\\.)*"|(?<![.\d])-?\d+(?=e)/g, (part) =>
      part.startsWith('"') ? part : `${part}.0`,
    );
  return `${text}\n`;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
