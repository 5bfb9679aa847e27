/**
 * The frames of one guest for another one, numbered from 0, and what their receiver is held to:
 * every frame once, in its turn, and none missing but while something was done to the flow.
 *
 *     sent ────────────────┐ next
 *          arrived ───┐ expected     at most a window apart, so that no ring overflows
 *
 * What is done to a flow excuses it from some of that, and only as long as it lasts:
 *
 * - disturbed, frames that are under way may be lost, until settle();
 * - cut off by a partition, nothing sent until mend() may arrive at all;
 * - after a crash of the switch, frames that the dead one had not handed back may arrive once more,
 *   in their turn: whoever comes after it finds them in the ring as if they had never been sent.
 *
 * Pure: who sends and who receives is the caller's.
 */

/** An invariant that was not held. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** What a worker takes in one round before it hands anything back: native/core, kBatchFramesMax. */
const batchFrames = 64;

export class Flow {
  readonly name: string;
  readonly #windowFrames: number;
  #next = 0;
  #expected = 0;
  /** Where the window begins while what lies before it will not come. */
  #opened = 0;
  #disturbed = false;
  /** Frames below this were under way while the flow was disturbed. */
  #excusedBelow = 0;
  #paused = false;
  /** Frames from `from` on that may not arrive, up to `below` once that is known. */
  #cut = { from: 0, below: 0 };
  /** Frames from here on, in this order, may arrive once more. */
  #again = { from: 0, below: 0 };
  #lost = 0;
  #repeated = 0;

  constructor(name: string, windowFrames: number) {
    this.name = name;
    this.#windowFrames = windowFrames;
  }

  /** The number of the frame that is sent next. */
  get next(): number {
    return this.#next;
  }

  /** One more than the highest number that has arrived. */
  get expected(): number {
    return this.#expected;
  }

  /** Frames that were lost with an excuse. */
  get lost(): number {
    return this.#lost;
  }

  /** Frames that came twice with an excuse. */
  get repeated(): number {
    return this.#repeated;
  }

  /** How many frames may be sent now. */
  get room(): number {
    if (this.#paused) return 0;
    return this.#windowFrames - (this.#next - Math.max(this.#expected, this.#opened));
  }

  /** Whether nothing that is still expected is under way. */
  get isDrained(): boolean {
    return Math.max(this.#expected, this.#opened) === this.#next;
  }

  /** Numbers a frame to be sent. */
  take(): number {
    return this.#next++;
  }

  /** Throws Violation. */
  arrived(number: number): void {
    if (number >= this.#next) throw this.#violation(`frame ${number} arrived and was never sent`);
    const { from, below } = this.#cut;
    if (number >= from && number < below) {
      throw this.#violation(`frame ${number} came through a partition`);
    }
    if (number < this.#expected) {
      this.#arrivedAgain(number);
      return;
    }
    const missing = number - this.#expected;
    if (missing > 0 && !this.mayMiss(number - 1)) {
      throw this.#violation(`frames ${this.#expected} to ${number - 1} were lost`);
    }
    this.#lost += missing;
    this.#expected = number + 1;
  }

  /** Whether a frame may be lost, and flooded to others than its receiver. */
  mayMiss(number: number): boolean {
    return this.#disturbed || number < this.#excusedBelow;
  }

  /** From now on frames may be lost. */
  disturb(): void {
    this.#disturbed = true;
  }

  /** Opens a new window: what is under way is lost, or arrives late. */
  reopen(): void {
    this.#opened = this.#next;
  }

  /** Ends the excuses for what is sent from now on. */
  settle(): void {
    this.#disturbed = false;
    this.#excusedBelow = this.#next;
    this.reopen();
  }

  /** Nothing sent from now on arrives; the switch says so. */
  cut(): void {
    this.#cut = { from: this.#next, below: Number.POSITIVE_INFINITY };
    this.reopen();
  }

  /** What is sent from now on arrives again. What was sent before is through with the switch. */
  mend(): void {
    this.#cut.below = this.#next;
  }

  /** The switch died: what it had in hand may come again. */
  crashed(): void {
    this.#again = { from: Math.max(0, this.#expected - batchFrames), below: this.#next };
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  #arrivedAgain(number: number): void {
    const { from, below } = this.#again;
    if (number < from || number >= below) {
      const last = this.#expected - 1;
      throw this.#violation(`frame ${number} arrived after frame ${last}: again, or too late`);
    }
    this.#again.from = number + 1;
    this.#repeated++;
  }

  #violation(sentence: string): Violation {
    return new Violation(`${this.name}: ${sentence}`);
  }
}
