/** CoAP endpoints on the `coap` package, behind a strict filter (docs/decisions/0003). */

export { CoapClient, type CoapClientOptions, type ExchangeOutcome, type Response } from './client.js';
export { OPTION, parseDatagram } from './datagram.js';
export { ClientMetrics, ServerMetrics } from './metrics.js';
export { CoapServer, type PostRequest, type PostResponse } from './server.js';
