/**
 * The text of a lab's file, to its plan.
 *
 * Whatever it says, it is a plan in which every machine has what it needs to be started, or it is
 * refused with complaints that say where; and no key of it reaches the prototypes of this program.
 */

import assert from 'node:assert/strict';
import { planOfText } from '../../../src/lab/file/lab-file.ts';
import type { LabPlan } from '../../../src/lab/file/plan.ts';
import { TsvswitchError } from '../../../src/model/errors.ts';

const mac = /^[0-9a-f][02468ace](?::[0-9a-f]{2}){5}$/;

export function fuzz(data: Uint8Array): void {
  const text = Buffer.from(data).toString();
  let plan: LabPlan;
  try {
    plan = planOfText(text, { name: 'lab.yaml', file: '/labs/one/lab.yaml' });
  } catch (error) {
    assert(error instanceof TsvswitchError && error.code === 'LAB_INVALID', error as Error);
    for (const line of error.message.split('\n')) {
      assert.match(line, /^(?:lab\.yaml\P{C}+|and \d+ more)$/u);
    }
    return;
  } finally {
    assert.deepEqual(Object.keys(Object.prototype), []);
  }
  assert(plan.machines.length > 0);
  const macs = plan.machines.flatMap((machine) => [machine.mac, machine.managementMac]);
  for (const each of macs) assert.match(each, mac);
  const ours = [plan.machines.map(({ name }) => name), macs];
  for (const list of ours) assert.equal(new Set(list).size, list.length);
  for (const { name, cpus, memoryMiB, diskBytes, disks, sshPort } of plan.machines) {
    assert.match(name, /^[a-z][a-z0-9-]*$/);
    for (const number of [cpus, memoryMiB, diskBytes ?? 1, sshPort ?? 1]) {
      assert(Number.isSafeInteger(number) && number > 0, `${number}`);
    }
    for (const { bytes } of disks) assert(Number.isSafeInteger(bytes) && bytes > 0, `${bytes}`);
  }
}
