/** Which sockets a place to listen on takes. */

import {
  type Address,
  type Addresses,
  addressesOf,
  type Endpoint,
  formatEndpoint,
  interfaceFailure,
} from '@latchkey/runtime/net';
import { type Failure, listenFailure, systemCode } from '@latchkey/runtime/failure';

const ALL_ADDRESSES: Addresses = [
  { address: '::', family: 6 },
  { address: '0.0.0.0', family: 4 },
];
/** Errors of bind(2) for an address that the machine does not have, for example without IPv6. */
const NOT_OF_THIS_MACHINE: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);
/** Ports that the system is asked for until one is free on each address. */
const PORT_TRIES = 8;

/** What listens on one address. */
interface Listener {
  readonly address: Endpoint;
  stop(): Promise<void>;
}

/** Listens on one address; rejects with the system's error. */
type Listen<L> = (address: Address, port: number) => Promise<L>;

/**
 * Returns the addresses that `place` names: all addresses of a name, and for `[::]` all of the
 * machine. IPv4 gets a separate socket for `[::]`. Whether an IPv6 socket receives IPv4 too depends
 * on net.ipv6.bindv6only.
 */
export async function addressesAt(place: Endpoint): Promise<Addresses> {
  const addresses = await addressesOf(place);
  return addresses[0].address === '::' ? ALL_ADDRESSES : addresses;
}

/**
 * Listens on each address that `place` names, on one port. The system chooses the port if `place`
 * names none. One address is enough if the machine lacks the others. Throws a Failure if the
 * machine has none of them, or one is in use.
 */
export async function listenAt<L extends Listener>(place: Endpoint, listen: Listen<L>): Promise<L[]> {
  const addresses = await addressesAt(place);
  for (let tries = 1; ; tries += 1) {
    try {
      return await listenOnEach(addresses, place.port, listen);
    } catch (error) {
      // The port that the system chose for one address may be taken on another.
      const mayTryAgain = place.port === 0 && systemCode(error) === 'EADDRINUSE' && tries < PORT_TRIES;
      if (!mayTryAgain) throw placeFailure(place, error);
    }
  }
}

async function listenOnEach<L extends Listener>(addresses: Addresses, port: number, listen: Listen<L>): Promise<L[]> {
  const listeners: L[] = [];
  let missing: unknown;
  for (const address of addresses) {
    try {
      listeners.push(await listen(address, listeners[0]?.address.port ?? port));
    } catch (error) {
      if (NOT_OF_THIS_MACHINE.has(systemCode(error) ?? '')) {
        missing ??= error;
        continue;
      }
      await Promise.all(listeners.map((listener) => listener.stop()));
      throw error;
    }
  }
  if (listeners.length === 0) throw missing;
  return listeners;
}

/** Returns a failure that says what happened, and what to do. */
export function placeFailure(place: Endpoint, error: unknown): Failure {
  const doing = `cannot listen on ${formatEndpoint(place)}`;
  return interfaceFailure(doing, place, error) ?? listenFailure(doing, 'listen', place.port, error);
}
