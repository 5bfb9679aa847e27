/**
 * The links of a switch and their changes: impairments that begin and end, partitions that come and
 * heal.
 *
 * A change is checked when it is made, by prepare(), and takes effect when what that returns is
 * called: at once, or when a schedule (schedule.ts) comes to it. A port that has gone by then has
 * no links, so the change does nothing for it.
 *
 * Every link has a seed of its own, made from the switch's seed and the names of its ports: what
 * happens on it does not depend on other links, on the order in which ports were added, or on the
 * time.
 */

import { createHash } from 'node:crypto';
import { TsvswitchError } from '../../model/errors.ts';
import { bad, fields } from '../../model/option-checks.ts';
import type { Dataplane, LinkSettings } from '../../native/addon.ts';
import type { Port } from '../../port/port.ts';
import { type Impairment, linkSettings } from './impairment.ts';

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
interface Hop {
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
        return () => {
          this.#dataplane.setPartition([]);
          this.#onChange({ type: 'healed' });
        };
      }
      fields('change', change, ['link', 'impairment', 'partition', 'heal']);
    }
    throw bad('change', change, 'one with link and impairment, with partition, or with heal: true');
  }

  #prepareLink(link: Link, impairment: Impairment): () => void {
    const settings = this.#hopsOf(link).map(
      (hop) => [hop, linkSettings(impairment, this.#seedOf(hop))] as const,
    );
    const named = this.#named(link);
    const isUnimpaired = settings[0]![1] === undefined;
    return () => {
      let made = 0;
      for (const [hop, linkSettings] of settings) {
        if (this.#setLink(hop, linkSettings)) made++;
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
  #setLink({ from, to }: Hop, settings: LinkSettings | undefined): boolean {
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
    return () => {
      this.#dataplane.setPartition(
        names.map((side) =>
          side.flatMap((name) => {
            const port = this.#portOf(name);
            return port === undefined ? [] : [port.handle];
          }),
        ),
      );
      this.#onChange({ type: 'partitioned', sides: names });
    };
  }

  #nameOf(port: unknown): string {
    const name = typeof port === 'object' && port !== null ? (port as Port).name : port;
    if (typeof name !== 'string') throw bad('port', port, 'a port or the name of one');
    if (this.#portOf(name) === undefined) {
      throw new TsvswitchError('NO_SUCH_PORT', `the switch has no port named ${name}`);
    }
    return name;
  }

  #seedOf({ from, to }: Hop): bigint {
    const text = JSON.stringify([this.#seed, from ?? null, to ?? null]);
    return createHash('sha256').update(text).digest().subarray(0, seedBytes).readBigUInt64LE();
  }
}
