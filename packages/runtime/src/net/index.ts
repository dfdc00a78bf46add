/** Addresses: HOST:PORT, NID, where a daemon listens, and who connects to a unix socket. */

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
  unmapIPv4,
} from './endpoint.js';
export { httpOption, httpSchema, isSocketPath, type ListenAddress, MAX_SOCKET_PATH } from './listen-address.js';
export { encodeNid, formatNid, sourcePrefix } from './nid.js';
export { findGroupId, hasIdentityIdMaps, openPeerCredentials, type PeerCredentials } from './peer-credentials.js';
export { allowGroup, removeStaleSocket } from './unix-socket.js';
export { findUserId } from './user-id.js';
