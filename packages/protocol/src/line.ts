/**
 * Things in the order in which they came, any of which may leave at any time, at the same cost however many there are. A Map or Set keeps
 * that order too, but whoever asks it for the first looks past all that have left.
 */
export class Line<T> {
  #first: Place<T> | undefined;
  #last: Place<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What came before all others that are still there. */
  get first(): T | undefined {
    return this.#first?.thing;
  }

  /** Gives the place to leave from. */
  join(thing: T): Place<T> {
    const place: Place<T> = { thing, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = place;
    else this.#last.after = place;
    this.#last = place;
    this.#length += 1;
    return place;
  }

  /** Once from each place. */
  leave(place: Place<T>): void {
    if (place.before === undefined) this.#first = place.after;
    else place.before.after = place.after;
    if (place.after === undefined) this.#last = place.before;
    else place.after.before = place.before;
    this.#length -= 1;
  }
}

export interface Place<T> {
  readonly thing: T;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
}
