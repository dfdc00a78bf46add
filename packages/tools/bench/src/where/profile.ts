/**
 * What a profiler in a daemon finds, as it crosses to the process that measures: what each function
 * took by itself, without what it called.
 */

export interface FunctionCost {
  /** Of the file: `file:`, `node:`, or empty for what is V8's own. */
  readonly url: string;
  /** V8's own have names in parentheses, such as `(garbage collector)`. */
  readonly name: string;
  /** Microseconds, or octets that were allocated. */
  readonly cost: number;
}

/**
 * What to profile next. CPU time and allocations are not looked at together: each look costs time.
 */
export type ProfilerRequest = 'start cpu' | 'start memory' | 'stop';

/** To a request: an array to `stop`, else empty. */
export type ProfilerAnswer = readonly FunctionCost[];
