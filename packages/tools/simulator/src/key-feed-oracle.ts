/**
 * Checks invariant 9 of docs/PROTOCOL.md: every second it compares the keys that a controller gives
 * out with recent states of the registry.
 *
 * A server counts as reached while all servers of the controller serve, clocks agree, and no fault
 * affects M12, M13 or the controller's disk. After 15 s of that the controller gives out the
 * registry's state, current or of these 15 s, as verified. Under any fault, verified keys were
 * current within the last minute.
 */

import { deriveApplicationRoot, expiryOf, Secret } from '@latchkey/protocol';
import { keyText } from './key-text.js';
import { type Simulation, Violation } from './simulation.js';
import type { RegistryRow } from './simulated-registry.js';

const CHECK_EVERY_MS = 1_000;
const REACHED_MS = 15_000;
const VERIFIED_MS = 60_000;
/** Clocks that are no further apart than this, in ms, keep no M12 from being in time. */
const AGREEING_CLOCKS_MS = 10_000;
/** A server's clock differs by no more from the one that all go by, in ms. */
const MAX_SKEW_MS = 2_000;

interface GivenOut {
  /** AR_i of the generation that is given out as current. */
  currentOf(idI: number): Uint8Array | undefined;
  isVerified(): boolean;
}

export interface FollowingController {
  readonly idC: number;
  /** What it gives out; `undefined` while it does not run. */
  readonly givenOut: GivenOut | undefined;
  readonly clockError: number;
}

/** Where a controller's M12 go, and what befalls them. */
export interface Link {
  readonly isServing: () => boolean;
  readonly clockError: () => number;
}

/** What the registry had of a node for a while. */
interface Period {
  /** `undefined`: still. */
  until: number | undefined;
  readonly controller: number | undefined;
  /** AR_i in hex digits, if the node has a key that is in use. */
  readonly root: string | undefined;
  /** When the key is past its grace, ms since the epoch. */
  readonly expiresAt: number;
}

export class KeyFeedOracle {
  readonly #simulation: Simulation;
  readonly #link: Link;
  readonly #controllers: FollowingController[] = [];
  /** By ID_i, the latest one last. */
  readonly #periods = new Map<number, Period[]>();
  /** Since when the server was reached, by ID_c. */
  readonly #reachedSince = new Map<number, number>();
  /** The latest time that a server's clock has shown. */
  #latestTime = 0;

  constructor(simulation: Simulation, link: Link) {
    this.#simulation = simulation;
    this.#link = link;
  }

  follow(controller: FollowingController): void {
    this.#controllers.push(controller);
  }

  begin(): void {
    this.#simulation.events.schedule(CHECK_EVERY_MS, () => {
      this.#check();
      this.begin();
    });
  }

  /** Something befell the link of a controller, or of all. */
  disturbed(idC?: number): void {
    const { now } = this.#simulation;
    for (const controller of this.#controllers)
      if (idC === undefined || controller.idC === idC) this.#reachedSince.set(controller.idC, now);
  }

  rowChanged(row: RegistryRow): void {
    const { idI, initial, disabled, controller, key, grace } = row;
    const root = initial || disabled ? undefined : keyText(deriveApplicationRoot(Secret.fromHex(key), idI));
    const expiry = expiryOf(row);
    const expiresAt = expiry === undefined ? Infinity : expiry + 1000 * grace;
    this.#changed(idI, { until: undefined, controller, root, expiresAt });
  }

  rowRemoved(idI: number): void {
    this.#changed(idI, { until: undefined, controller: undefined, root: undefined, expiresAt: Infinity });
  }

  /** Whether each controller has been able to follow for long enough, and does. */
  get isSettled(): boolean {
    return this.#controllers.every(({ idC, givenOut }) => givenOut !== undefined && this.#hasReached(idC));
  }

  #changed(idI: number, period: Period): void {
    const { now } = this.#simulation;
    const periods = (this.#periods.get(idI) ?? []).filter(({ until = now }) => now - until <= VERIFIED_MS);
    const last = periods.at(-1);
    if (last !== undefined) last.until = now;
    periods.push(period);
    this.#periods.set(idI, periods);
  }

  #hasReached(idC: number): boolean {
    return this.#simulation.now - (this.#reachedSince.get(idC) ?? this.#simulation.now) >= REACHED_MS;
  }

  #check(): void {
    const { trueTime } = this.#simulation;
    const serverError = this.#link.clockError();
    this.#latestTime = Math.max(this.#latestTime, trueTime + serverError);
    for (const controller of this.#controllers) {
      const { idC, givenOut, clockError } = controller;
      if (givenOut === undefined || !this.#link.isServing() || Math.abs(clockError - serverError) > AGREEING_CLOCKS_MS)
        this.disturbed(idC);
      if (givenOut !== undefined) this.#checkController(idC, givenOut);
    }
  }

  /** Invariant 9. */
  #checkController(idC: number, givenOut: GivenOut): void {
    const hasReached = this.#hasReached(idC);
    const verified = givenOut.isVerified();
    if (hasReached && !verified)
      throw new Violation(9, `c${idC} has reached its server for ${REACHED_MS / 1000} s, and gives out keys as unverified`);
    for (const idI of this.#periods.keys()) {
      const current = givenOut.currentOf(idI);
      const root = current && Buffer.from(current).toString('hex');
      if (hasReached && !this.#wasSo(idI, idC, root, REACHED_MS))
        throw new Violation(
          9,
          `c${idC} gives out ${root === undefined ? 'no key' : 'a key'} of n${idI} which the registry did not have for it in ${REACHED_MS / 1000} s with its server reached`,
        );
      if (verified && root !== undefined && !this.#wasSo(idI, idC, root, VERIFIED_MS))
        throw new Violation(9, `c${idC} gives out a key of n${idI} as verified that was not current for ${VERIFIED_MS / 1000} s`);
    }
  }

  /** Whether the registry had this root for the controller at some moment of the last `ms`. */
  #wasSo(idI: number, idC: number, root: string | undefined, ms: number): boolean {
    const since = this.#simulation.now - ms;
    return (this.#periods.get(idI) ?? []).some((period) => {
      if (period.until !== undefined && period.until < since) return false;
      const had = period.controller === idC ? period.root : undefined;
      // When exactly a key is past its grace is a matter of the server's clock.
      return had === root || (root === undefined && this.#latestTime + MAX_SKEW_MS >= period.expiresAt);
    });
  }
}
