// Lets Prometheus reach daemons that serve their metrics on unix sockets: every FOLDER/NAME.sock as http://HOST:9464/NAME/metrics, and all of them as
// scrape targets under /targets. For a network that Prometheus alone is on.
//
//   node forward.mjs FOLDER [PORT]

import { readdirSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';

const [, , folder = '/run/latchkey', port = '9464'] = process.argv;
const LIMIT_MS = 10_000;

const names = () => readdirSync(folder).flatMap((file) => /^([\w-]+)\.sock$/.exec(file)?.[1] ?? []);

function targets(host) {
  return names().map((name) => ({ targets: [host], labels: { instance: name, __metrics_path__: `/${name}/metrics` } }));
}

const server = createServer((asked, answer) => {
  const fail = (status) => {
    if (!answer.headersSent) answer.writeHead(status);
    answer.end();
  };
  if (asked.method !== 'GET') return fail(405);
  if (asked.url === '/targets') {
    answer.setHeader('content-type', 'application/json');
    return answer.end(JSON.stringify(targets(asked.headers.host ?? `localhost:${port}`)));
  }
  const name = /^\/([\w-]+)\/metrics$/.exec(asked.url ?? '')?.[1];
  if (name === undefined || !names().includes(name)) return fail(404);
  const options = {
    socketPath: join(folder, `${name}.sock`),
    path: '/metrics',
    agent: false,
    signal: AbortSignal.timeout(LIMIT_MS),
  };
  const passed = request(options, (response) => {
    answer.writeHead(response.statusCode ?? 502, { 'content-type': response.headers['content-type'] ?? 'text/plain' });
    response.on('error', () => answer.destroy()).pipe(answer);
  });
  passed.on('error', () => fail(502)).end();
});
server.maxConnections = 64;
server.listen(Number(port), () => process.stdout.write(`forwarding ${folder} on ${server.address().port}\n`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
