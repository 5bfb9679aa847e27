/**
 * The links of a switch and their changes: impairments that begin and end, partitions that come and
 * heal.
 *
 * A change is checked when it is made, by prepare(), and takes effect when what that returns is
 * called: at once, or when a schedule (schedule.ts) comes to it. A port that has gone by then has
 * no links, so the change does nothing for it.
 *
 * What has taken effect is kept as settings, for the document of the switch.
 *
 * Every link has a seed of its own, made from the switch's seed and the names of its ports: what
 * happens on it does not depend on other links, on the order in which ports were added, or on the
 * time.
 */

import { createHash } from 'node:crypto';
import { failure } from '../../model/errors.ts';
import { bad, fields } from '../../model/option-checks.ts';
import type { ImpairmentSettings, LinkSettings } from '../../model/settings.ts';
import type { Dataplane, LinkSettings as LinkWords } from '../../native/addon.ts';
import type { Port } from '../../port/port.ts';
import { completed, type Impairment, linkSettings } from './impairment.ts';

/** A port, or its name. */
export type PortName = string | Port;

/**
 * Where an impairment sits: between a guest and its port, both ways unless a direction is given; on
 * the way from one port to another; or on both ways between two ports.
 */
export type Link =
  | { readonly port: PortName; readonly direction?: 'fromGuest' | 'toGuest' }
  | { readonly from: PortName; readonly to: PortName }
  | { readonly between: readonly [PortName, PortName] };

/** One thing that changes: a link, or who hears whom. */
export type NetworkChange =
  | { readonly link: Link; readonly impairment: Impairment }
  /** Ports of different sides do not hear each other; ports on no side hear all. */
  | { readonly partition: readonly (readonly PortName[])[] }
  | { readonly heal: true };

/** A link by the names of its ports. */
export type NamedLink =
  | { readonly port: string; readonly direction?: 'fromGuest' | 'toGuest' }
  | { readonly from: string; readonly to: string }
  | { readonly between: readonly [string, string] };

/** What has changed. */
export type NetworkEvent =
  | { readonly type: 'link-impaired'; readonly link: NamedLink; readonly impairment: Impairment }
  | { readonly type: 'link-mended'; readonly link: NamedLink }
  | { readonly type: 'partitioned'; readonly sides: readonly (readonly string[])[] }
  | { readonly type: 'healed' };

/** One direction of a link; undefined is the guest's end of it. */
export interface Hop {
  readonly from?: string;
  readonly to?: string;
}

const seedBytes = 8;

/** The links of one switch. */
export class Links {
  readonly #dataplane: Dataplane;
  readonly #seed: number;
  readonly #portOf: (name: string) => Port | undefined;
  readonly #onChange: (event: NetworkEvent) => void;
  readonly #impaired = new Map<string, LinkSettings>();
  #partition: readonly (readonly string[])[] = [];

  constructor(
    dataplane: Dataplane,
    seed: number,
    portOf: (name: string) => Port | undefined,
    onChange: (event: NetworkEvent) => void,
  ) {
    this.#dataplane = dataplane;
    this.#seed = seed;
    this.#portOf = portOf;
    this.#onChange = onChange;
  }

  get settings(): { readonly links: LinkSettings[]; readonly partition: string[][] } {
    return {
      links: [...this.#impaired.values()],
      partition: this.#partition.map((side) => [...side]),
    };
  }

  /** A port goes, and its links and its side of a partition with it. */
  forget(port: string): void {
    for (const [key, { from, to }] of this.#impaired) {
      if (from === port || to === port) this.#impaired.delete(key);
    }
    if (!this.#partition.some((side) => side.includes(port))) return;
    this.#partition = this.#partition.map((side) => side.filter((name) => name !== port));
  }

  /** Of settings, whose ports may still have to come; none is a link as good as new. */
  prepareHop(hop: Hop, impairment: ImpairmentSettings | undefined): () => void {
    const { from, to } = hop;
    const named: NamedLink =
      from !== undefined && to !== undefined
        ? { from, to }
        : from !== undefined
          ? { port: from, direction: 'fromGuest' }
          : { port: to!, direction: 'toGuest' };
    return this.#prepareHops([hop], named, impairment ?? {});
  }

  /** Of settings, as prepareHop(); no sides are no partition. */
  prepareSides(sides: readonly (readonly string[])[]): () => void {
    return () => this.#cutOff(sides);
  }

  /** Checks a change and returns what makes it. Throws BAD_OPTION and NO_SUCH_PORT. */
  prepare(change: NetworkChange): () => void {
    if (typeof change === 'object' && change !== null) {
      // To the last field, here too: of two changes in one, only one would be made.
      if ('link' in change) {
        const { link, impairment } = fields('change', change, ['link', 'impairment']);
        return this.#prepareLink(link as Link, impairment as Impairment);
      }
      if ('partition' in change) {
        const { partition } = fields('change', change, ['partition']);
        return this.#preparePartition(partition as readonly (readonly PortName[])[]);
      }
      if ('heal' in change && fields('change', change, ['heal']).heal === true) {
        return this.prepareSides([]);
      }
      fields('change', change, ['link', 'impairment', 'partition', 'heal']);
    }
    throw bad('change', change, 'one with link and impairment, with partition, or with heal: true');
  }

  #prepareLink(link: Link, impairment: Impairment): () => void {
    return this.#prepareHops(this.#hopsOf(link), this.#named(link), impairment);
  }

  #prepareHops(hops: readonly Hop[], named: NamedLink, impairment: Impairment): () => void {
    const settings = hops.map((hop) => [hop, linkSettings(impairment, this.#seedOf(hop))] as const);
    const isUnimpaired = settings[0]![1] === undefined;
    return () => {
      let made = 0;
      for (const [hop, linkSettings] of settings) {
        if (!this.#setLink(hop, linkSettings)) continue;
        const key = JSON.stringify([hop.from, hop.to]);
        if (isUnimpaired) this.#impaired.delete(key);
        else this.#impaired.set(key, { ...hop, impairment: completed(impairment) });
        made++;
      }
      if (made === 0) return;
      this.#onChange(
        isUnimpaired
          ? { type: 'link-mended', link: named }
          : { type: 'link-impaired', link: named, impairment },
      );
    };
  }

  /** False if a port of it has gone. */
  #setLink({ from, to }: Hop, settings: LinkWords | undefined): boolean {
    const [sender, receiver] = [from, to].map((name) =>
      name === undefined ? undefined : this.#portOf(name)?.handle,
    );
    if (from === undefined) receiver?.set('linkToGuest', settings);
    else if (to === undefined) sender?.set('linkFromGuest', settings);
    else if (sender !== undefined) receiver?.set('linkFromPort', settings, sender);
    return (
      (from === undefined || sender !== undefined) && (to === undefined || receiver !== undefined)
    );
  }

  #cutOff(sides: readonly (readonly string[])[]): void {
    const present = sides.map((side) =>
      side.flatMap((name) => {
        const port = this.#portOf(name);
        return port === undefined ? [] : [port];
      }),
    );
    this.#dataplane.setPartition(present.map((side) => side.map(({ handle }) => handle)));
    this.#partition = present.map((side) => side.map(({ name }) => name));
    this.#onChange(sides.length === 0 ? { type: 'healed' } : { type: 'partitioned', sides });
  }

  /** Of a link that was checked. */
  #named(link: Link): NamedLink {
    if ('port' in link && link.port !== undefined)
      return { ...link, port: this.#nameOf(link.port) };
    if ('from' in link && link.from !== undefined) {
      return { from: this.#nameOf(link.from), to: this.#nameOf(link.to) };
    }
    const [one, other] = (link as Extract<Link, { between: unknown }>).between;
    return { between: [this.#nameOf(one), this.#nameOf(other)] };
  }

  #hopsOf(link: Link): readonly Hop[] {
    const { port, direction, from, to, between } = fields('link', link, [
      ...['port', 'direction', 'from', 'to', 'between'],
    ]);
    if (port !== undefined && from === undefined && to === undefined && between === undefined) {
      const name = this.#nameOf(port);
      if (direction === undefined) return [{ from: name }, { to: name }];
      if (direction === 'fromGuest') return [{ from: name }];
      if (direction === 'toGuest') return [{ to: name }];
      throw bad('link.direction', direction, 'fromGuest or toGuest');
    }
    if (port === undefined && direction === undefined) {
      if (between === undefined) return [this.#hopBetween(from, to)];
      if (
        Array.isArray(between) &&
        between.length === 2 &&
        from === undefined &&
        to === undefined
      ) {
        return [this.#hopBetween(between[0], between[1]), this.#hopBetween(between[1], between[0])];
      }
    }
    throw bad('link', JSON.stringify(link), 'one with port, with from and to, or with between');
  }

  #hopBetween(first: unknown, second: unknown): Hop {
    const [from, to] = [this.#nameOf(first), this.#nameOf(second)];
    if (from === to) throw bad('link', from, 'two ports: no frame goes back to its own port');
    const bridges = [from, to].map((name) => this.#portOf(name)?.bridge);
    if (bridges[0] !== bridges[1]) {
      throw bad('link', `${from} to ${to}`, `on one bridge, but on ${bridges.join(' and ')}`);
    }
    return { from, to };
  }

  #preparePartition(sides: readonly (readonly PortName[])[]): () => void {
    if (!Array.isArray(sides) || sides.length < 2 || !sides.every(Array.isArray)) {
      throw bad('partition', JSON.stringify(sides), 'two or more sides, each a list of ports');
    }
    const names = (sides as readonly (readonly unknown[])[]).map((side) =>
      side.map((port) => this.#nameOf(port)),
    );
    const all = names.flat();
    const twice = all.find((name, i) => all.indexOf(name) !== i);
    if (twice !== undefined) throw bad('partition', twice, 'on one side only');
    return this.prepareSides(names);
  }

  #nameOf(port: unknown): string {
    const name = typeof port === 'object' && port !== null ? (port as Port).name : port;
    if (typeof name !== 'string') throw bad('port', port, 'a port or the name of one');
    if (this.#portOf(name) === undefined) {
      throw failure('port-unknown', { name });
    }
    return name;
  }

  #seedOf({ from, to }: Hop): bigint {
    const text = JSON.stringify([this.#seed, from ?? null, to ?? null]);
    return createHash('sha256').update(text).digest().subarray(0, seedBytes).readBigUInt64LE();
  }
}
