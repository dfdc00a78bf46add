/**
 * Readiness of a daemon. Each check runs on request, with a cached result for a short time and with
 * a timeout.
 */

import type { Check } from '../telemetry.js';

/** A look that found all well is believed so long, in ms, unless its check says otherwise. */
const OK_TTL_MS = 5_000;
/** One that found a fault is believed for less: its end is news. */
const FAULT_TTL_MS = 1_000;
/**
 * Timeout of a check, in ms. A check that takes longer is a fault, and no second one is started.
 */
const CHECK_TIMEOUT_MS = 4_000;

export interface CheckResult {
  readonly name: string;
  /** What is not well, for a person; `undefined`: all is. */
  readonly fault: string | undefined;
}

interface CheckState {
  readonly check: Check;
  result: CheckResult | undefined;
  checkedAt: number;
  running: Promise<CheckResult> | undefined;
}

export class Readiness {
  readonly #states: readonly CheckState[];

  constructor(checks: readonly Check[]) {
    this.#states = checks.map((check) => ({ check, result: undefined, checkedAt: -Infinity, running: undefined }));
  }

  /** In the order of the checks, within 4 seconds. */
  check(): Promise<CheckResult[]> {
    return Promise.all(this.#states.map((state) => this.#resultWithTimeout(state)));
  }

  /**
   * Returns one status line for a person. Waits without a timeout for the checks that the watchdog
   * waits for, and runs no others.
   */
  async status(): Promise<string> {
    const results = await Promise.all(
      this.#states
        .filter(({ check }) => check.watchdog !== undefined)
        .map((state) => (state.check.watchdog === 'required' ? this.#resultOf(state) : this.#resultWithTimeout(state))),
    );
    const faults = results.flatMap(({ name, fault }) => (fault === undefined ? [] : [`${name}: ${fault}`]));
    return faults.length === 0 ? 'ready' : `not ready; ${faults.join('; ').replaceAll('\n', ' ')}`;
  }

  /** Returns the cached result, or the result of a new check. */
  async #resultOf(state: CheckState): Promise<CheckResult> {
    const { check, result, checkedAt } = state;
    const ttlMs = result?.fault === undefined ? (check.cacheMs ?? OK_TTL_MS) : FAULT_TTL_MS;
    if (result !== undefined && performance.now() - checkedAt < ttlMs) return result;
    state.running ??= this.#runCheck(state).finally(() => (state.running = undefined));
    return state.running;
  }

  /** The same, but within the limit. */
  async #resultWithTimeout(state: CheckState): Promise<CheckResult> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<CheckResult>((resolve) => {
      timer = setTimeout(() => resolve({ name: state.check.name, fault: TIMEOUT_FAULT }), CHECK_TIMEOUT_MS);
    });
    try {
      return await Promise.race([this.#resultOf(state), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #runCheck(state: CheckState): Promise<CheckResult> {
    const { check } = state;
    let fault: string | undefined;
    try {
      fault = await check.run();
    } catch (error) {
      // An error of any kind counts as a fault of the check, and does not end the process.
      fault = error instanceof Error ? error.message : String(error);
    }
    state.checkedAt = performance.now();
    state.result = { name: check.name, fault };
    return state.result;
  }
}

const TIMEOUT_FAULT = `no answer within ${CHECK_TIMEOUT_MS / 1000} s`;
