/** A whole Latchkey network on loopback, for the demo and for tests from end to end. */

export { freePort, Network, type Order, type OrderOptions } from './network.js';
export { type CommandName, commandLine, DaemonProcess, type Finished, type LogLine } from './process.js';
