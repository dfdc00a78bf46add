/**
 * The console's built files, read once at the start. A request names a file of the list; it never
 * becomes a path on the disk.
 */

import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { Problem } from '../problem.js';

const MAX_FILES = 512;
const MAX_OCTETS = 8 * 1024 * 1024;
const INDEX = '/index.html';

/** By extension. Other files are not served. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** In addition to those of every answer. */
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(self), geolocation=(), microphone=()',
  vary: 'accept-encoding',
};

interface ConsoleFile {
  readonly type: string;
  readonly octets: Buffer;
  /** `undefined` where that is no smaller. */
  readonly gzipped: Buffer | undefined;
  readonly etag: string;
  readonly cacheControl: string;
}

/** By path in the URL. */
export type ConsoleFiles = ReadonlyMap<string, ConsoleFile>;

/** @throws Failure if there is no console in the folder, or too much */
export async function readConsoleFiles(folder: string): Promise<ConsoleFiles> {
  const files = new Map<string, ConsoleFile>();
  let octets = 0;
  for (const path of await pathsIn(folder)) {
    const name = `/${relative(folder, path).split(sep).join('/')}`;
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    octets += (await stat(path)).size;
    if (files.size >= MAX_FILES || octets > MAX_OCTETS)
      throw new UsageFailure(
        `${folder} is no console: it has more than ${MAX_FILES} files or ${MAX_OCTETS} octets`,
        NAME_ANOTHER,
      );
    files.set(name, await readConsoleFile(path, name, type));
  }
  if (!files.has(INDEX)) throw new UsageFailure(`${folder} has no console: there is no index.html`, NAME_ANOTHER);
  return files;
}

const NAME_ANOTHER = { advice: 'Name the folder of the built console with `console:` below `browser:`, or leave it out.' };

async function pathsIn(folder: string): Promise<readonly string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    throw systemFailure(`cannot read the console in ${folder}`, error);
  }
  // No symbolic links: they may lead out of the folder.
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

async function readConsoleFile(path: string, name: string, type: string): Promise<ConsoleFile> {
  const octets = await readFile(path);
  const gzipped = await promisify(gzip)(octets);
  return {
    type,
    octets,
    gzipped: gzipped.length < octets.length ? gzipped : undefined,
    etag: `"${createHash('sha256').update(octets).digest('base64url').slice(0, 22)}"`,
    // The name of an asset has the hash of its content.
    cacheControl: name.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
  };
}

/** Answers every path that is not the API's. Pages of the console are paths without a file. */
export function addConsoleRoutes(server: FastifyInstance, files: ConsoleFiles): void {
  server.get('/*', { config: { scope: 'public' } }, async (request, reply) => {
    const [path = '/'] = request.url.split('?');
    const isPage = !path.includes('.') && path !== '/v1';
    const file = files.get(path) ?? (isPage ? files.get(INDEX) : undefined);
    if (file === undefined) throw new Problem('not-found');
    return sendFile(request, reply, file);
  });
}

function sendFile({ headers }: FastifyRequest, reply: FastifyReply, file: ConsoleFile): FastifyReply {
  reply.headers({ ...PAGE_HEADERS, 'cache-control': file.cacheControl, etag: file.etag });
  if (headers['if-none-match'] === file.etag) return reply.code(304).send();
  reply.type(file.type);
  if (file.gzipped === undefined || !/\bgzip\b/.test(headers['accept-encoding'] ?? '')) return reply.send(file.octets);
  return reply.header('content-encoding', 'gzip').send(file.gzipped);
}
