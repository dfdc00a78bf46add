/** Addresses: HOST:PORT, NID, and where a daemon listens. */

export {
  type Address,
  type Addresses,
  addressesOf,
  type Endpoint,
  explainPeerSyntax,
  formatEndpoint,
  interfaceFailure,
  isSameEndpoint,
  listenSchema,
  parseEndpoint,
  parsePeerEndpoint,
  peerSchema,
  storedPeerSchema,
  unmapIPv4,
} from './endpoint.js';
export { httpOption, httpSchema, type ListenAddress } from './listen-address.js';
export { encodeNid, formatNid, sourcePrefix } from './nid.js';
