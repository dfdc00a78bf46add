/**
 *   node console-relay.js SOCKET [PORT]
 *
 * The way from a port that compose.yaml publishes on loopback to the console, which the API serves
 * in clear on a unix socket only.
 */

import { connect, createServer, type Socket } from 'node:net';

const [socketPath = '/run/latchkey-console/browser.sock', port = '8080'] = process.argv.slice(2);
const MAX_CONNECTIONS = 64;
/** Of a connection on which nothing comes: the API sends to its streams more often, in ms. */
const IDLE_MS = 120_000;

const open = new Set<Socket>();

function relay(browser: Socket): void {
  const api = connect(socketPath);
  for (const [from, to] of [
    [browser, api],
    [api, browser],
  ] as const) {
    open.add(from);
    from.setTimeout(IDLE_MS, () => from.destroy());
    // The other end learns of it by its own close.
    from
      .on('error', () => undefined)
      .on('close', () => {
        open.delete(from);
        to.destroy();
      });
    from.pipe(to);
  }
}

const server = createServer(relay);
server.maxConnections = MAX_CONNECTIONS;
server.listen(Number(port), () => process.stdout.write(`listening on ${port}\n`));
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    server.close();
    for (const socket of open) socket.destroy();
  });
}
