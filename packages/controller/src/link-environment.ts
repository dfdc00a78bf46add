/**
 * Environment of a link to auth-servers: sockets, names and time of the machine, or of a
 * simulation.
 */

import { CoapClient, type CoapClientOptions } from '@latchkey/coap';
import { PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { addressesOf } from '@latchkey/runtime/net';

/** A connected socket, as a link uses it. */
export type LinkSocket = Pick<CoapClient, 'address' | 'exchange' | 'ping' | 'close' | 'closeWhenIdle'>;

export interface LinkEnvironment {
  /** Connects to the first of the addresses that can be had. Throws a Failure if none can. */
  readonly connect: (options: CoapClientOptions) => Promise<LinkSocket>;
  /** Looks up the addresses of a name. Throws a Failure if it is unknown. */
  readonly lookUp: typeof addressesOf;
  readonly time: ProcessTime;
}

export const MACHINE: LinkEnvironment = {
  connect: (options) => CoapClient.connect(options),
  lookUp: addressesOf,
  time: PROCESS_TIME,
};
