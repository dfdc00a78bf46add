/** Exports for the testbed, which runs many nodes in one process: the agent and its state file. */

export { NodeAgent, type NodeAgentOptions } from './node-agent.js';
export { createNodeFile } from './create-node-file.js';
export { NodeFile, type StoredNode } from './node-file.js';
