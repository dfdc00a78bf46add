/** Long work in short steps, so that its caller can do other things in between. */

/** Work that pauses after each step. Its result is returned with the last one. */
export type Steps<T> = Generator<void, T>;

/** Does the work without a pause. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
