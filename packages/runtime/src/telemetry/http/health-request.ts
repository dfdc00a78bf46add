/** The `health` command: sends a request to a daemon on this machine, and prints its answer. */

import { request } from 'node:http';
import * as z from 'zod/mini';
import { loadConfig } from '../../config/config.js';
import { Failure, systemFailure, UsageFailure } from '../../failure.js';
import { formatListenAddress, type ListenAddress, httpSchema } from '../../net/listen-address.js';

/** For the whole answer, in ms. */
const TIMEOUT_MS = 10_000;
const MAX_ANSWER = 64 * 1024;

export interface HealthOptions {
  readonly http?: ListenAddress;
  readonly config?: string;
  readonly ready?: true;
}

export async function askHealth({ http, config, ready }: HealthOptions): Promise<void> {
  const address = http ?? (await loadConfig(z.object({ http: z.optional(httpSchema) }), config)).http;
  if (address === undefined) {
    throw new UsageFailure('it is not known where the daemon serves health and metrics', {
      advice: 'Name the place with --http, or a configuration that has `http:` with --config.',
    });
  }
  const { status, text } = await get(address, ready === true ? '/readyz' : '/healthz');
  const answer = z.safeParse(answerSchema(), parseJson(text)).data;
  if (answer === undefined) throw new Failure(`what answers on ${formatListenAddress(address)} is not a Latchkey daemon`);
  const faults = Object.entries(answer.checks).filter(([, result]) => result !== 'ok');
  const line = [answer.status, ...faults.map(([check, result]) => `${check}: ${result}`)].join('; ');
  if (status !== 200) throw new Failure(line);
  process.stdout.write(`${line}\n`);
}

/** Built on demand, because building it would delay each start of a daemon. */
const answerSchema = () => z.object({ status: z.string(), checks: z._default(z.record(z.string(), z.string()), {}) });

async function get(
  address: ListenAddress,
  path: string,
): Promise<{ readonly status: number | undefined; readonly text: string }> {
  const target = address.kind === 'unix' ? { socketPath: address.path } : address.endpoint;
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(
        error.name === 'AbortError' || error.name === 'TimeoutError'
          ? new Failure(`no answer on ${formatListenAddress(address)} within ${TIMEOUT_MS / 1000} s`)
          : systemFailure(`no answer on ${formatListenAddress(address)}`, error),
      );
    const clientRequest = request({ ...target, path, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
        if (text.length > MAX_ANSWER) response.destroy(new Error('it says too much'));
      });
      response.on('end', () => resolve({ status: response.statusCode, text }));
      response.on('error', fail);
    });
    clientRequest.on('error', fail);
    clientRequest.end();
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
