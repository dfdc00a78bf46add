/** Sign-ins that have begun, until the provider has sent the browser back. */

/** At the bound the oldest is given up. */
const MAX_PENDING = 1_024;
const MAX_AGE_MS = 10 * 60_000;

export class PendingSignIns<T> {
  readonly #begun = new Map<string, { readonly at: number; readonly value: T }>();

  add(key: string, value: T): void {
    const [oldest] = this.#begun.keys();
    if (this.#begun.size >= MAX_PENDING && oldest !== undefined) this.#begun.delete(oldest);
    this.#begun.set(key, { at: performance.now(), value });
  }

  /** Returns a sign-in once. Returns `undefined` if it began more than 10 minutes ago. */
  take(key: string | undefined): T | undefined {
    const begun = key === undefined ? undefined : this.#begun.get(key);
    if (key === undefined || begun === undefined) return undefined;
    this.#begun.delete(key);
    return performance.now() - begun.at > MAX_AGE_MS ? undefined : begun.value;
  }
}
