/** A whole Latchkey network on loopback, for the demo and for tests from end to end. */

export { demo } from './demo.js';
export { demoConsole, serveConsole } from './demo-console.js';
export { freePort, TestNetwork, type Order, type OrderOptions } from './network.js';
export { type CommandName, commandLine, DaemonProcess, type CommandResult, type LogLine } from './process.js';
export { PostgresCluster } from './postgres-cluster.js';
