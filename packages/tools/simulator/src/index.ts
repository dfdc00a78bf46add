/** A deterministic world for the three roles. See docs/SECURITY.md, "What was run". */

export { MUTANTS } from './mutants/index.js';
export { LIVENESS_MS, type WorldResult, run, type RunOptions } from './world.js';
