/**
 * What stands in for controller and auth-server where a limit is measured: the same processes,
 * hops, sizes and round trips, without protocol and cryptography.
 *
 *   coap-server STORE             the `coap` package, and a durable write for each request of M7's size
 *   coap-controller HOST:PORT     the `coap` package both ways
 *   dgram-server                  bare sockets
 *   dgram-controller HOST:PORT
 */

import { parseEndpoint, type Endpoint } from '@latchkey/runtime/net';
import { coapController, coapServer } from './coap.js';
import { dgramController, dgramServer } from './dgram.js';

const [what, where = ''] = process.argv.slice(2);

function endpoint(): Endpoint {
  const parsed = parseEndpoint(where);
  if (parsed === undefined) throw new Error(`${where} is not HOST:PORT`);
  return parsed;
}

async function listen(): Promise<string> {
  switch (what) {
    case 'coap-server':
      return coapServer(where);
    case 'coap-controller':
      return coapController(endpoint());
    case 'dgram-server':
      return dgramServer();
    case 'dgram-controller':
      return dgramController(endpoint());
    default:
      throw new Error(`${what} is not among them`);
  }
}

// A bundle has no `await` outside of functions.
void listen().then((address) => process.stdout.write(`${JSON.stringify({ msg: 'listening', address })}\n`));
