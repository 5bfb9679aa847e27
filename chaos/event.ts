/**
 * What happens to the network while frames flow, as a function of a seed: event n of a seed is the
 * same in every run, whatever came before it, so that a series can be cut down to the events that
 * matter.
 *
 * An event is one to three things that happen at once to different guests, or one thing that
 * happens to all. Each puts back what it took away. Pure.
 */

/** Simulated guests, by number from 0. */
export const guests = 4;

export type Action =
  /** Its frontend is gone from one moment to the next, and another one comes. */
  | {
      readonly kind: 'die';
      readonly guest: number;
      readonly packed: boolean;
      readonly awayMs: number;
    }
  /** It takes leave as a driver does, and comes back. */
  | { readonly kind: 'reboot'; readonly guest: number; readonly packed: boolean }
  /** Its connection breaks, and it goes on with the same rings over another one. */
  | { readonly kind: 'reconnect'; readonly guest: number }
  /** Memory is added to it and taken away while its rings run. */
  | { readonly kind: 'hot-plug'; readonly guest: number; readonly regions: number }
  | { readonly kind: 'remove-port'; readonly guest: number; readonly awayMs: number }
  /** A port is added, a guest comes, talks to this one and goes with its port. */
  | { readonly kind: 'visit'; readonly guest: number; readonly packed: boolean }
  | { readonly kind: 'delay'; readonly from: number; readonly to: number; readonly delayMs: number }
  | {
      readonly kind: 'lose';
      readonly from: number;
      readonly to: number;
      readonly loss: number;
      readonly awayMs: number;
    }
  | { readonly kind: 'partition'; readonly sides: readonly (readonly number[])[] }
  /** The switch is given another worker, unless it has many. */
  | { readonly kind: 'add-worker' }
  /** The switch is killed or asked to end, and started again with other settings. */
  | {
      readonly kind: 'restart';
      readonly signal: 'SIGKILL' | 'SIGTERM';
      readonly settings: Settings;
    }
  /** The virtual machine is reset through its monitor, or its QEMU killed and started again. */
  | { readonly kind: 'reset-machine' }
  | { readonly kind: 'kill-machine' };

/** How a switch is started. */
export interface Settings {
  readonly workers: number;
  readonly balance: boolean;
  readonly idleUs: number;
}

export interface ChaosEvent {
  readonly number: number;
  /** Frames that arrive between the event before it and this one. */
  readonly afterFrames: number;
  readonly actions: readonly Action[];
}

type Kind = Action['kind'];

/** How often each comes up, and how many guests it takes. */
const kinds: Record<Kind, { readonly weight: number; readonly takes: number }> = {
  die: { weight: 6, takes: 1 },
  reboot: { weight: 4, takes: 1 },
  reconnect: { weight: 4, takes: 1 },
  'hot-plug': { weight: 6, takes: 1 },
  'remove-port': { weight: 5, takes: 1 },
  visit: { weight: 4, takes: 1 },
  delay: { weight: 3, takes: 2 },
  lose: { weight: 3, takes: 2 },
  partition: { weight: 3, takes: guests },
  restart: { weight: 3, takes: guests },
  // Not at the same time as a restart, for which alone they take a guest.
  'add-worker': { weight: 3, takes: 1 },
  'reset-machine': { weight: 1, takes: 1 },
  'kill-machine': { weight: 1, takes: 1 },
};

const machineKinds: readonly Kind[] = ['reset-machine', 'kill-machine'];
const actionsMax = 3;
/** At most this many frames arrive between two events. */
const afterFramesMax = 3000;

/** How a switch is started before the first event. */
export const firstSettings: Settings = { workers: 1, balance: false, idleUs: 50 };

/** Event `number` of a seed. Without a machine nothing happens to one. */
export function eventOf(seed: number, number: number, withMachine: boolean): ChaosEvent {
  const draw = generator(seed, number);
  const afterFrames = draw.below(afterFramesMax);
  const free = draw.shuffled(Array.from({ length: guests }, (_, guest) => guest));
  const actions: Action[] = [];
  const wanted = 1 + draw.below(actionsMax);
  for (let i = 0; i < wanted; i++) {
    const fitting = (Object.keys(kinds) as Kind[]).filter(
      (kind) =>
        kinds[kind].takes <= free.length &&
        (withMachine || !machineKinds.includes(kind)) &&
        !actions.some((action) => action.kind === kind),
    );
    const tickets = fitting.flatMap((kind) => Array<Kind>(kinds[kind].weight).fill(kind));
    if (tickets.length === 0) break;
    const kind = draw.oneOf(tickets);
    actions.push(actionOf(kind, free.splice(0, kinds[kind].takes), draw));
  }
  return { number, afterFrames, actions };
}

function actionOf(kind: Kind, taken: readonly number[], draw: Draw): Action {
  const [guest = 0, other = 0] = taken;
  switch (kind) {
    case 'die':
      return { kind, guest, packed: draw.below(2) === 1, awayMs: draw.below(20) };
    case 'reboot':
      return { kind, guest, packed: draw.below(2) === 1 };
    case 'reconnect':
      return { kind, guest };
    case 'hot-plug':
      return { kind, guest, regions: 1 + draw.below(2) };
    case 'remove-port':
      return { kind, guest, awayMs: draw.below(20) };
    case 'visit':
      return { kind, guest, packed: draw.below(2) === 1 };
    case 'delay':
      return { kind, from: guest, to: other, delayMs: 1 + draw.below(5) };
    case 'lose':
      return {
        kind,
        from: guest,
        to: other,
        loss: (5 + draw.below(90)) / 100,
        awayMs: draw.below(20),
      };
    case 'partition': {
      const cut = 1 + draw.below(guests - 1);
      return { kind, sides: [taken.slice(0, cut), taken.slice(cut)] };
    }
    case 'restart':
      return {
        kind,
        signal: draw.oneOf(['SIGKILL', 'SIGTERM'] as const),
        settings: {
          workers: 1 + draw.below(3),
          balance: draw.below(2) === 1,
          idleUs: draw.oneOf([0, 50, 200]),
        },
      };
    case 'add-worker':
    case 'reset-machine':
    case 'kill-machine':
      return { kind };
  }
}

/** One line for people. */
export function describe({ number, afterFrames, actions }: ChaosEvent): string {
  const told = actions.map(({ kind, ...details }) =>
    [kind, ...Object.values(details).map((value) => JSON.stringify(value))].join(' '),
  );
  return `event ${number}, ${afterFrames} frames later: ${told.join(', ')}`;
}

interface Draw {
  /** A whole number from 0 to `end` - 1. */
  below(end: number): number;
  oneOf<Item>(items: readonly Item[]): Item;
  shuffled<Item>(items: readonly Item[]): Item[];
}

/** Mulberry32, of which each event has one of its own. */
function generator(seed: number, number: number): Draw {
  let state = Math.imul(seed, 0x85ebca6b) ^ Math.imul(number + 1, 0xc2b2ae35);
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number) => Math.floor(next() * end);
  return {
    below,
    oneOf: (items) => items[below(items.length)]!,
    shuffled(items) {
      const rest = [...items];
      return items.map(() => rest.splice(below(rest.length), 1)[0]!);
    },
  };
}
