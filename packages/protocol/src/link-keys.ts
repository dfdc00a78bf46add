import type { Secret } from './secret.js';

/**
 * SK_cs as it is, and those before it as long as something that was sealed under them may still be
 * answered.
 */
export class LinkKeys {
  #current: Secret;
  /** Each with the last transaction that may still need it. */
  #retired: { readonly skCs: Secret; readonly lastTid: bigint }[] = [];

  constructor(skCs: Secret) {
    this.#current = skCs;
  }

  get current(): Secret {
    return this.#current;
  }

  /**
   * @param lastTid of the last transaction that may need the key in use until now
   * @param oldest TID of the oldest transaction that is left
   */
  replace(skCs: Secret, lastTid: bigint, oldest: bigint | undefined): void {
    this.#retired.push({ skCs: this.#current, lastTid });
    this.#current = skCs;
    this.wipeUnused(oldest);
  }

  /** TIDs only grow, so the oldest pending one shows which earlier SK_cs are unused. */
  wipeUnused(oldest: bigint | undefined): void {
    if (this.#retired.length === 0) return;
    const stillUsed = this.#retired.filter(({ lastTid }) => oldest !== undefined && oldest <= lastTid);
    for (const retired of this.#retired) if (!stillUsed.includes(retired)) retired.skCs.wipe();
    this.#retired = stillUsed;
  }
}
