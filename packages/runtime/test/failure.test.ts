// Proves that who cannot listen is told what would help: the option that names the place, or the
// privilege that a port takes.

import { describe, expect, it } from 'vitest';
import { listenFailure } from '../src/failure.js';

/** As the system says it. */
function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('who cannot listen', () => {
  it.each([
    ['listen', 5_693, 'EADDRINUSE', /^Stop it, or choose another with --listen, or `listen:` of the configuration\.$/],
    ['http', 9_464, 'EADDRINUSE', /^Stop it, or choose another with --http, or `http:` of the configuration\.$/],
    ['listen', 5_693, 'EADDRNOTAVAIL', /^Choose one of its addresses with --listen/],
    ['listen', 69, 'EACCES', /^Ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose another with --listen/],
    ['http', 80, 'EACCES', /^Ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose another with --http/],
    ['listen', 1_024, 'EACCES', /^Run as the user that owns it/],
    ['http', undefined, 'EACCES', /^Run as the user that owns it/],
  ] as const)('by --%s, on port %s, for %s', (name, port, code, advice) => {
    const failure = listenFailure('cannot listen there', name, port, systemError(code));
    expect(failure).toMatchObject({ name: 'Failure', exitCode: 1, advice: expect.stringMatching(advice) as string });
    expect(failure.message).toMatch(/^cannot listen there: /);
  });
});
