/**
 *   node metrics-relay.js [FOLDER [PORT]]
 *
 * The one way from Prometheus to daemons that serve metrics on unix sockets alone, in one folder:
 * `NAME.sock` or `NAME/http.sock`.
 *
 *   GET /targets          what there is to scrape, for `http_sd_configs`
 *   GET /metrics/NAME     the metrics of that daemon
 */

import { readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const [folder = '/run/latchkey', port = '9465'] = process.argv.slice(2);
/** For an answer of a daemon, in ms. */
const TIMEOUT_MS = 8_000;
const MAX_CONNECTIONS = 64;

/** The path of each daemon's socket by its name. */
function sockets(): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isSocket() && entry.name.endsWith('.sock'))
      found.set(entry.name.slice(0, -'.sock'.length), join(folder, entry.name));
    if (entry.isDirectory()) found.set(entry.name, join(folder, entry.name, 'http.sock'));
  }
  return found;
}

function answer({ url = '', headers: { host = '' } }: IncomingMessage, response: ServerResponse): void {
  if (url === '/targets') {
    const targets = [...sockets().keys()].map((name) => ({
      targets: [host],
      labels: { __metrics_path__: `/metrics/${name}`, instance: name },
    }));
    response.setHeader('content-type', 'application/json').end(JSON.stringify(targets));
    return;
  }
  const socketPath = sockets().get(url.replace(/^\/metrics\//, ''));
  if (socketPath === undefined) {
    response.writeHead(404).end();
    return;
  }
  const failed = (): void => void (response.headersSent ? response.destroy() : response.writeHead(502).end());
  request({ socketPath, path: '/metrics', agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, (metrics) => {
    response.writeHead(metrics.statusCode ?? 502, { 'content-type': metrics.headers['content-type'] ?? 'text/plain' });
    metrics.on('error', failed).pipe(response);
  })
    .on('error', failed)
    .end();
}

const server = createServer({ requestTimeout: TIMEOUT_MS }, answer);
server.maxConnections = MAX_CONNECTIONS;
server.listen(Number(port), () => process.stdout.write(`listening on ${String((server.address() as AddressInfo).port)}\n`));
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
