/**
 * What a controller's link to auth-servers stands on: sockets in the simulated network, names that
 * are their own addresses, and the time of its process.
 */

import type { CoapAuthServerClient } from '@latchkey/controller/auth-server-client';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { SimulatedClient } from './exchange.js';
import type { SimulatedNetwork } from './network.js';
import type { Process } from './process.js';

type LinkEnvironment = NonNullable<ConstructorParameters<typeof CoapAuthServerClient>[2]>;

const FIRST_PORT = 50_000;

export function linkEnvironment(process: Process, network: SimulatedNetwork, random: SeededRandom): LinkEnvironment {
  let sockets = 0;
  return {
    connect: ({ peer: { host, port } }) => {
      sockets += 1;
      const address = `${process.name}:${FIRST_PORT + sockets}`;
      return Promise.resolve(new SimulatedClient(process, network, random, address, `${host}:${port}`));
    },
    lookUp: ({ host }) => Promise.resolve([{ address: host, family: 4 }]),
    time: process.time('asks again'),
  };
}
