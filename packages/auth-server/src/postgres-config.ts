/**
 * How a registry in PostgreSQL is named: `registry: { postgres: ... }` in a configuration, or a URL
 * on the command line.
 */

import { isAbsolute } from 'node:path';
import type { PostgresConfig, PostgresHost } from '@latchkey/registry/postgres';
import { parseOrFail, textError } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { parsePeerEndpoint } from '@latchkey/runtime/net';
import { z } from 'zod';
import { PASSWORD_ADVICE, requireNoPassword, URL_SYNTAX } from './postgres-url.js';

const DEFAULT_PORT = 5432;
const MAX_HOSTS = 16;
const URL_PARTS =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^@/?#]*)@)?(?<hosts>[^/?#]*)\/(?<database>[^/?#]*)(?:\?(?<settings>[^#]*))?$/i;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/;
const TLS_SETTINGS = ['ca', 'cert', 'key'] as const;
const SETTINGS = ['password_file', ...TLS_SETTINGS, 'durability'] as const;

const pathSchema = z.string().refine(isAbsolute, { error: 'expected an absolute path' });

const HOST_EXPECTED = 'expected HOST, HOST:PORT or the absolute path of the folder of a unix socket';

const hostSchema = z.string(textError(HOST_EXPECTED)).transform((text, context): PostgresHost => {
  const host = parseHost(text);
  if (host !== undefined) return host;
  context.addIssue({ code: 'custom', message: HOST_EXPECTED });
  return z.NEVER;
});

const tlsSchema = z
  .strictObject({ ca: pathSchema, cert: pathSchema.optional(), key: pathSchema.optional() })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    error: 'expected both cert and key, or neither',
  });

export const postgresSchema: z.ZodType<PostgresConfig> = z
  .strictObject({
    hosts: z.array(hostSchema).min(1).max(MAX_HOSTS),
    database: z.string().min(1),
    user: z.string().min(1),
    password: z.never({ error: `no password is taken here. ${PASSWORD_ADVICE}` }).optional(),
    password_file: pathSchema.optional(),
    tls: tlsSchema.optional(),
    durability: z.enum(['standby', 'storage']).default('standby'),
  })
  .superRefine(({ hosts, tls }, context) => {
    const remote = tls === undefined ? hosts.find((host) => 'host' in host && !LOOPBACK.test(host.host)) : undefined;
    if (remote === undefined || !('host' in remote)) return;
    const message = `expected ca, the certificate of who signs those of the hosts: without it the connection to ${remote.host} is not encrypted`;
    context.addIssue({ code: 'custom', path: ['tls'], message });
  })
  .transform(({ hosts, database, user, password_file: passwordFile, tls, durability }): PostgresConfig => {
    const { ca, cert, key } = tls ?? {};
    return {
      hosts,
      database,
      user,
      durability,
      ...(passwordFile === undefined ? {} : { passwordFile }),
      ...(ca === undefined ? {} : { tls: { ca, ...(cert === undefined || key === undefined ? {} : { cert, key }) } }),
    };
  });

/** @throws UsageFailure that repeats no part of a URL in which a password may be */
export function parsePostgresUrl(url: string, option: string): PostgresConfig {
  requireNoPassword(url, option);
  const parts = URL_PARTS.exec(url)?.groups;
  if (parts === undefined) throw new UsageFailure(`${option} ${url}: expected ${URL_SYNTAX}`);
  const settings = new URLSearchParams(parts['settings']);
  const unknown = [...settings.keys()].find((name) => !SETTINGS.some((setting) => setting === name));
  if (unknown !== undefined)
    throw new UsageFailure(`${option} ${url}: unknown setting ${unknown}: expected one of ${SETTINGS.join(', ')}`);
  const setting = (name: (typeof SETTINGS)[number]): object => (settings.has(name) ? { [name]: settings.get(name) } : {});
  const tls = Object.assign({}, ...TLS_SETTINGS.map(setting)) as object;
  const named = {
    hosts: (parts['hosts'] ?? '').split(',').map(decoded),
    database: decoded(parts['database'] ?? ''),
    user: decoded(parts['user'] ?? ''),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
    ...setting('password_file'),
    ...setting('durability'),
  };
  return parseOrFail(postgresSchema, named, `${option} ${url}`);
}

function parseHost(text: string): PostgresHost | undefined {
  if (isAbsolute(text)) {
    const [, socketFolder = text, port = DEFAULT_PORT] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
    return { socketFolder, port: Number(port) };
  }
  return parsePeerEndpoint(text) ?? parsePeerEndpoint(`${text}:${DEFAULT_PORT}`);
}

/** Decodes a text of a URL. Returns it unchanged if its encoding is invalid. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
