/**
 * How long a look-up through a controller's key socket takes, and a bare line to a process and
 * back.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { lookup } from '@latchkey/keys';
import { percentile } from '../load/load-profile.js';

/** In ms. */
export interface RoundTrips {
  readonly p50: number;
  readonly p99: number;
}

const ECHO_SERVER = `require('node:net')
  .createServer((socket) => socket.pipe(socket))
  .listen(process.argv[1], () => console.log('listening'))`;

/** One look-up after another, of other nodes each, on the connection that stays open. */
export async function measureLookups(socket: string, label: string, ids: readonly string[], count: number): Promise<RoundTrips> {
  const stride = Math.max(1, Math.floor(ids.length / count));
  return measure(count, async (i) => {
    const id = ids[(i * stride) % ids.length] ?? '';
    const found = await lookup(id, label, { socket });
    if (found.id !== id) throw new Error(`a look-up of ${id} gave ${found.id}`);
    found.key.fill(0);
  });
}

/** As many lines of the same length as the answer to a look-up, through a process that echoes. */
export async function measureEcho(path: string, count: number): Promise<RoundTrips> {
  const server = spawn(process.execPath, ['-e', ECHO_SERVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(server.stdout, 'data');
    const socket = connect(path);
    await once(socket, 'connect');
    const line = `${'x'.repeat(127)}\n`;
    try {
      return await measure(count, async () => {
        socket.write(line);
        for (let octets = 0; octets < line.length;) {
          const [part] = (await once(socket, 'data')) as [Buffer];
          octets += part.length;
        }
      });
    } finally {
      socket.destroy();
    }
  } finally {
    server.kill('SIGKILL');
  }
}

async function measure(count: number, action: (i: number) => Promise<void>): Promise<RoundTrips> {
  // Code that runs for the first time is compiled.
  for (let i = 0; i < Math.min(count, 200); i++) await action(i);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const since = performance.now();
    await action(i);
    times.push(performance.now() - since);
  }
  const sorted = times.toSorted((a, b) => a - b);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}
