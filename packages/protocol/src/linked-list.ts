/**
 * Things in the order in which they came, any of which may leave at any time, at the same cost
 * however many there are. A Map or Set keeps that order too, but whoever asks it for the first
 * looks past all that have left.
 */
export class LinkedList<T> {
  #first: ListNode<T> | undefined;
  #last: ListNode<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What came before all others that are still there. */
  get first(): T | undefined {
    return this.#first?.value;
  }

  /** Gives the place to leave from. */
  append(value: T): ListNode<T> {
    const node: ListNode<T> = { value, previous: this.#last, next: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    this.#length += 1;
    return node;
  }

  /** Once from each place. */
  remove(node: ListNode<T>): void {
    if (node.previous === undefined) this.#first = node.next;
    else node.previous.next = node.next;
    if (node.next === undefined) this.#last = node.previous;
    else node.next.previous = node.previous;
    this.#length -= 1;
  }
}

export interface ListNode<T> {
  readonly value: T;
  previous: ListNode<T> | undefined;
  next: ListNode<T> | undefined;
}
