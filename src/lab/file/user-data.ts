/**
 * What merged user-data may not say, since the lab could not log in to its machine any more: who
 * the default user is in a shape that cloud-init ignores, and that passwords expire which the lab's
 * user has.
 *
 * What else is in user-data is cloud-init's to judge.
 *
 * Source: cloud-init ug_util.py, cc_set_passwords.py.
 */

import { type Finding, isMapping, type Path } from '../../model/findings.ts';
import { userDataKey } from './definition.ts';

/** As in the schema. */
const userDefault = 'test';

/** Of the machine at `path`; what is not user-data to be merged passes. */
export function userDataFindings(path: Path, machine: Record<string, unknown>): Finding[] {
  const userData = machine[userDataKey];
  if (!isMapping(userData)) return [];
  const { user: labUser = userDefault } = machine;
  const at = (...steps: string[]) => [...path, userDataKey, ...steps];
  const findings: Finding[] = [];
  const { user, users } = userData;
  const isOther = nameOf(user) !== undefined && nameOf(user) !== labUser;
  if (user !== undefined && nameOf(user) === undefined && !isMapping(user)) {
    const sentence = 'must be a name or a mapping (key: value); cloud-init ignores all else';
    findings.push({ path: at('user'), part: 'value', sentence });
  }
  if (isOther && users !== undefined && !Array.isArray(users)) {
    const sentence = `must be a list beside a user who is not ${labUser}, the lab's`;
    findings.push({ path: at('users'), part: 'value', sentence });
  }
  if (expires(userData, String(labUser), isOther)) {
    const sentence =
      `nobody could log in as ${labUser} any more, neither could the lab; remove this, or have ` +
      `another user's password expire by \`runcmd: [[chage, -d, "0", NAME]]\``;
    findings.push({ path: at('chpasswd', 'expire'), part: 'value', sentence });
  }
  return findings;
}

function nameOf(user: unknown): string | undefined {
  const name = isMapping(user) ? user.name : user;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** Whether the password of the lab's user is set by what expires those that it sets. */
function expires(
  { password, chpasswd }: Record<string, unknown>,
  labUser: string,
  hasOtherDefault: boolean,
): boolean {
  if (!isMapping(chpasswd) || !/^(?:true|1|on|yes)$/i.test(String(chpasswd.expire))) return false;
  const { users, list } = chpasswd;
  const named = [
    ...(Array.isArray(users) ? users.map(nameOf) : []),
    ...(Array.isArray(list) ? list : String(list ?? '').split('\n')).map(
      (line) => String(line).split(':')[0],
    ),
  ].filter((name) => name !== '');
  if (named.length > 0) return named.includes(labUser);
  return password !== undefined && !hasOtherDefault;
}
