/**
 * A lab as it is to be: every machine with everything decided, nothing left to defaults.
 */

import type { ImageSource } from '../image/image.ts';

export interface LabPlan {
  readonly name: string;
  /** Absolute path of the file that declares the lab; relative paths in it start at its folder. */
  readonly file: string;
  /** The name and eight hexadecimal digits of the path's hash: two labs never share it. */
  readonly id: string;
  readonly switch: SwitchPlan;
  readonly machines: readonly MachinePlan[];
}

export type SwitchPlan =
  | { readonly type: 'own'; readonly workers: number; readonly cpus: readonly number[] }
  /** A switch that runs already; `control` is the absolute path of its control socket. */
  | { readonly type: 'attach'; readonly control: string };

export interface MachinePlan {
  /** Also its hostname. */
  readonly name: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly image: ImageSource;
  /** What the disk is grown to; undefined leaves it as large as the image. */
  readonly diskBytes: number | undefined;
  /** Further, empty disks. */
  readonly disks: readonly { readonly bytes: number }[];
  /** Of net1, on the switch. */
  readonly mac: string;
  /** Of net0, user-mode, on which ssh is forwarded. */
  readonly managementMac: string;
  /** Of net1, each with its prefix length, such as 192.168.0.1/24. */
  readonly addresses: readonly string[];
  /** On the loopback of the host; undefined takes any free port. */
  readonly sshPort: number | undefined;
  readonly user: string;
  readonly password: string;
  /** Lines of authorized_keys that are let in besides the lab's own key. */
  readonly sshKeys: readonly string[];
  readonly userData: UserDataPlan | undefined;
  /** Behind all others on QEMU's command line. */
  readonly qemuArguments: readonly string[];
  /** Further options of net1's virtio-net-pci. */
  readonly deviceOptions: Readonly<Record<string, string>>;
}

export type UserDataPlan =
  /** Cloud-config that is merged into what the lab gives the machine; see cloud-init/user-data.ts. */
  | { readonly mode: 'merge'; readonly content: Readonly<Record<string, unknown>> }
  /** All of the user-data, as it is. */
  | { readonly mode: 'replace'; readonly content: string };
