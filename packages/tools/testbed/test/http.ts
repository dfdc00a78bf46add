// Asks a daemon over HTTP, as a scraper or a health check does.

import { request } from 'node:http';
import type { DaemonProcess } from '../src/process.js';

export { pollUntil } from '../src/poll-until.js';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Where a daemon said that it serves health and metrics. */
export async function httpOf(daemon: DaemonProcess): Promise<string> {
  return String((await daemon.waitFor(({ msg }) => msg === 'serving health and metrics'))['http']);
}

/** @param where `127.0.0.1:9464` or `unix:/path` */
export function get(
  where: string,
  path: string,
  options: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const target = where.startsWith('unix:')
    ? { socketPath: where.slice('unix:'.length) }
    : { host: where.slice(0, where.lastIndexOf(':')), port: Number(where.split(':').at(-1)) };
  return new Promise((resolve, reject) => {
    const asked = request(
      { ...target, path, method: options.method ?? 'GET', headers: options.headers, agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text }),
        );
      },
    );
    asked.on('error', reject);
    asked.end(options.body);
  });
}

/** Samples by name and labels, as `latchkey_nodes{state="joined"}`. */
export async function metricsOf(where: string): Promise<Map<string, number>> {
  const { status, text } = await get(where, '/metrics');
  if (status !== 200) throw new Error(`${where}/metrics answered ${status}: ${text}`);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

/** Names of the families, as TYPE has them. */
export async function namesOf(where: string): Promise<string[]> {
  const { text } = await get(where, '/metrics');
  return [...text.matchAll(/^# TYPE (\S+) /gm)].map((match) => match[1] ?? '');
}
