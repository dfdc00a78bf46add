/** What is asked for, by the names that client and server share. */

import { OPTION } from './datagram.js';

/** The one resource of the protocol. */
export const RESOURCE = '/k';

/** `coap` has no name for Echo, so its number is its name. */
export const ECHO = String(OPTION.echo) as '252';
