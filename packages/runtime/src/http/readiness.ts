/** Whether a daemon can do its work: each check looked at when asked for, but not at every request, and not for ever. */

import type { Check } from '../observation.js';

/** A look that found all well is believed so long, in ms, unless its check says otherwise. */
const GOOD_FOR_MS = 5_000;
/** One that found a fault is believed for less: its end is news. */
const BAD_FOR_MS = 1_000;
/** A look that takes longer is a fault in itself, in ms; none is begun beside it. */
const LIMIT_MS = 4_000;

export interface Finding {
  readonly name: string;
  /** What is not well, for a person; `undefined`: all is. */
  readonly fault: string | undefined;
}

interface Watched {
  readonly check: Check;
  finding: Finding | undefined;
  at: number;
  looking: Promise<Finding> | undefined;
}

export class Readiness {
  readonly #watched: readonly Watched[];

  constructor(checks: readonly Check[]) {
    this.#watched = checks.map((check) => ({ check, finding: undefined, at: -Infinity, looking: undefined }));
  }

  /** In the order of the checks, within 4 seconds. */
  look(): Promise<Finding[]> {
    return Promise.all(this.#watched.map((watched) => this.#lookAt(watched)));
  }

  /** One line for a person. Waits for the checks that the watchdog waits for, however long they take, and knows no others. */
  async status(): Promise<string> {
    const findings = await Promise.all(
      this.#watched
        .filter(({ check }) => check.watchdog !== undefined)
        .map((watched) => (watched.check.watchdog === 'waits' ? this.#findingOf(watched) : this.#lookAt(watched))),
    );
    const faults = findings.flatMap(({ name, fault }) => (fault === undefined ? [] : [`${name}: ${fault}`]));
    return faults.length === 0 ? 'ready' : `not ready; ${faults.join('; ').replaceAll('\n', ' ')}`;
  }

  /** What is known, or what a look now finds. */
  async #findingOf(watched: Watched): Promise<Finding> {
    const { check, finding, at } = watched;
    const goodFor = finding?.fault === undefined ? (check.goodForMs ?? GOOD_FOR_MS) : BAD_FOR_MS;
    if (finding !== undefined && performance.now() - at < goodFor) return finding;
    watched.looking ??= this.#lookAnew(watched).finally(() => (watched.looking = undefined));
    return watched.looking;
  }

  /** The same, but within the limit. */
  async #lookAt(watched: Watched): Promise<Finding> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<Finding>((resolve) => {
      timer = setTimeout(() => resolve({ name: watched.check.name, fault: HANGS }), LIMIT_MS);
    });
    try {
      return await Promise.race([this.#findingOf(watched), limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #lookAnew(watched: Watched): Promise<Finding> {
    const { check } = watched;
    let fault: string | undefined;
    try {
      fault = await check.look();
    } catch (error) {
      // Of whatever kind: that it cannot be looked at is not well either, and no reason to end.
      fault = error instanceof Error ? error.message : String(error);
    }
    watched.at = performance.now();
    watched.finding = { name: check.name, fault };
    return watched.finding;
  }
}

const HANGS = `no answer within ${LIMIT_MS / 1000} s`;
