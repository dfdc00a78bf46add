/**
 * Input and output of each operation: names, schemas and types. It imports zod and no other
 * package, so that a browser client of an API can import it.
 */

export * from './audit.js';
export * from './backup.js';
export * from './clock.js';
export * from './contract.js';
export * from './controllers.js';
export * from './descriptions.js';
export * from './diagnosis.js';
export * from './diagnosis-groups.js';
export * from './exposure.js';
export * from './imports.js';
export * from './installers.js';
export * from './jobs.js';
export * from './limits.js';
export * from './node-changes.js';
export * from './nodes.js';
export * from './orders.js';
export * from './problem.js';
export * from './waiting.js';
