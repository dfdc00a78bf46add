/**
 * Doubly linked list in insertion order, with removal in O(1). A Map or Set has that order too, but
 * a look-up of its first entry passes all removed entries.
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
