/**
 * Webhooks: a separate process with network access, without the registry and its keys. It reads the
 * audit log through the API, with a token.
 */

import { join } from 'node:path';
import type { Daemon, Log } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { ensurePrivateFolder, exists, readPlainFile, readPrivateFile } from '@latchkey/runtime/files';
import { LabelledCounter, type Sample } from '@latchkey/runtime/telemetry';
import { AuditFollower, type Cursor, cursorSchema } from './audit-follower.js';
import type { WebhookConfig, WebhooksConfig } from './config.js';
import { Webhook } from './webhook.js';

const MAX_SECRET_FILE = 4_096;
const SECRET = /^whsec_([A-Za-z0-9+/]{32,88}={0,2})$/;
const [MIN_SECRET, MAX_SECRET] = [24, 64];

export interface WebhooksOptions {
  readonly config: WebhooksConfig;
  /** Of the API, for callers with tokens. */
  readonly apiSocket: string;
  readonly log: Log;
  readonly intervalMs?: number | undefined;
  readonly firstRetryMs?: number | undefined;
}

/** Sends until it is stopped. */
export async function startWebhooks({ config, apiSocket, log, ...timing }: WebhooksOptions): Promise<Daemon> {
  const token = (await readPrivateFile(config.token_file, MAX_SECRET_FILE)).trim();
  const follower = new AuditFollower(apiSocket, token);
  await ensurePrivateFolder(config.state);
  const targets = await Promise.all(
    Object.entries(config.to).map(async ([name, one]) => ({ name, one, secret: await secretOf(one) })),
  );
  const webhooks: Webhook[] = [];
  for (const { name, one, secret } of targets) {
    const cursorPath = join(config.state, `${name}.json`);
    webhooks.push(
      new Webhook({
        name,
        target: { url: new URL(one.url), secret, allowsPrivate: one.private },
        what: one.what && new Set(one.what),
        cursorPath,
        cursor: await readCursor(cursorPath),
        follower,
        outcomes: new LabelledCounter(['delivered', 'failed']),
        log,
        ...timing,
      }),
    );
    log.info({ webhook: name }, 'sending events');
  }
  return {
    telemetry: {
      isServing: () => true,
      checks: webhooks.map((webhook) => ({
        name: `webhook_${webhook.name}`,
        run: () => (webhook.isStuck ? 'the receiver, or the API, refuses or does not answer; the log says which' : undefined),
      })),
      metrics: [
        {
          type: 'counter',
          name: 'latchkey_webhook_deliveries_total',
          help: 'Requests to receivers of webhooks, by outcome',
          labels: ['webhook', 'outcome'],
          read: () => webhooks.flatMap(samplesOf),
        },
        {
          type: 'gauge',
          name: 'latchkey_webhook_audit_entry',
          help: 'Number of the last entry of the audit log that a webhook is done with',
          labels: ['webhook'],
          read: () => webhooks.map(({ name, seq }) => ({ labels: { webhook: name }, value: seq })),
        },
      ],
    },
    async stop() {
      await Promise.all(webhooks.map((webhook) => webhook.stop()));
    },
  };
}

function samplesOf({ name, outcomes }: Webhook): Sample[] {
  return [...outcomes].map(([outcome, value]) => ({ labels: { webhook: name, outcome }, value }));
}

async function secretOf({ secret_file: path }: WebhookConfig): Promise<Uint8Array> {
  const text = (await readPrivateFile(path, MAX_SECRET_FILE)).trim();
  const secret = Buffer.from(SECRET.exec(text)?.[1] ?? '', 'base64');
  if (secret.length >= MIN_SECRET && secret.length <= MAX_SECRET) return secret;
  throw new UsageFailure(
    `${path} has no secret of a webhook: expected whsec_ and ${MIN_SECRET} to ${MAX_SECRET} octets in base64`,
    {
      advice: `Make one: (umask 077; printf 'whsec_%s\\n' "$(openssl rand -base64 32)" > ${path})`,
    },
  );
}

async function readCursor(path: string): Promise<Cursor | undefined> {
  if (!(await exists(path))) return undefined;
  const text = await readPlainFile(path);
  const parsed = cursorSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new UsageFailure(`${path} does not say how far the webhook is`, {
    advice: 'Remove it: the webhook then begins with the next entry of the audit log.',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
