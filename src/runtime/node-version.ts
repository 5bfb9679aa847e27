/** Refuses to run on a Node older than package.json says; npm only warns. */

import { failure } from '../model/errors.ts';
import { oldestNode } from './version.ts';

/** Throws NODE_TOO_OLD. */
export function checkNodeVersion(version = process.versions.node): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldestNode.split('.').map(Number);
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw failure('node-too-old', { oldest: oldestNode, version });
}
