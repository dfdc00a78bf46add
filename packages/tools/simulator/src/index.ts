/** A deterministic world for the three roles. See docs/SECURITY.md, "What was run". */

export { MUTANTS } from './mutants/index.js';
export { type WorldResult, run, type RunOptions } from './run.js';
export { LIVENESS_MS } from './world.js';
