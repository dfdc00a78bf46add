/**
 * What the testbed takes from here, to run many nodes in one process: the agent and the file it
 * keeps all it has in.
 */

export { NodeAgent, type NodeAgentOptions } from './node-agent.js';
export { createNodeFile } from './create-node-file.js';
export { NodeFile, type StoredNode } from './node-file.js';
