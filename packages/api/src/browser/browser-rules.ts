/**
 * Which requests the listener for browsers takes: those of the console's own pages. A page that
 * rebinds its DNS name to this host is same-origin to the browser, so Host and Origin are compared
 * with the configured origin.
 */

import type { FastifyRequest } from 'fastify';
import { Problem } from '../problem.js';

const ONCE = ['host', 'origin', 'sec-fetch-site', 'content-type', 'x-latchkey-session'];
const JSON_TYPE = /^application\/json *(?:;|$)/i;

/** @param origin of the console, e.g. `http://localhost:8080` */
export function browserRules(origin: string): (request: FastifyRequest) => void {
  const { host: ownHost } = new URL(origin);
  return ({ raw, headers }) => {
    const names = raw.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
    if (ONCE.some((name) => names.indexOf(name) !== names.lastIndexOf(name)) || raw.url?.startsWith('/') !== true)
      throw new Problem('bad-request', { detail: 'The request could be read in two ways.' });
    const { host = '', origin: sentOrigin, 'sec-fetch-site': site } = headers;
    if (host.toLowerCase() !== ownHost || (sentOrigin !== undefined && sentOrigin !== origin))
      throw new Problem('misdirected-request');
    if (raw.method === 'GET' || raw.method === 'HEAD') {
      if (site !== undefined && site !== 'same-origin' && !isVisit(raw.url, headers)) throw new Problem('cross-site-request');
      return;
    }
    if (site === undefined ? sentOrigin === undefined : site !== 'same-origin') throw new Problem('cross-site-request');
    const type = headers['content-type'];
    if (type !== undefined && !JSON_TYPE.test(type)) throw new Problem('unsupported-media-type');
  };
}

/** Returns true if a person opens a page, by its address or by a link on another site. */
function isVisit(path: string, headers: FastifyRequest['headers']): boolean {
  if (path === '/v1' || path.startsWith('/v1/')) return false;
  return (
    headers['sec-fetch-site'] === 'none' || (headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document')
  );
}
