/**
 * Plans a machine that joins a lab beside those of its file, or says why it cannot.
 */

import { failure } from '../model/errors.ts';
import { canonicalAddress } from './file/address.ts';
import type { MachineDefinition } from './file/definition.ts';
import { type LabPlan, type MachinePlan, planOf } from './file/plan.ts';

/** Throws LAB_INVALID, and BAD_OPTION for what another machine of the lab has already. */
export function plannedAddition(
  { name: labName, file, machines }: LabPlan,
  name: string,
  definition: MachineDefinition,
): MachinePlan {
  const alone = { name: labName, machines: { [name]: definition } };
  const [machine] = planOf(alone, { file }, machines).machines as [MachinePlan];
  for (const other of machines) refuseDouble(machine, other);
  return machine;
}

/** Throws BAD_OPTION if `machine` was given what `other` has. */
function refuseDouble(machine: MachinePlan, other: MachinePlan): void {
  const refuse = (what: string) => {
    throw failure('lab-addition-taken', { name: machine.name, what, other: other.name });
  };
  if (machine.name === other.name) refuse('the name');
  if ([other.mac, other.managementMac].includes(machine.mac)) {
    refuse(`the MAC address ${machine.mac}`);
  }
  if (machine.sshPort !== undefined && machine.sshPort === other.sshPort) {
    refuse(`the ssh port ${machine.sshPort}`);
  }
  const taken = other.addresses.map(canonicalAddress);
  const double = machine.addresses.find((address) => taken.includes(canonicalAddress(address)));
  if (double !== undefined) refuse(`the address ${double}`);
}
