import { InDoubt } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { expect, it } from 'vitest';
import type { Principal } from '../src/access.js';
import { ReopenedRegistry } from '../src/registry-access.js';
import type { RouteServices } from '../src/route.js';
import { buildServer } from '../src/server.js';

const LOOK = ['latchkey-auth-server', 'audit', 'list', '--from', '7', '--limit', '1', '--json'];
const DOUBT = new InDoubt('it is not known whether 192.0.2.1 took the change', { advice: 'Entry 7 tells. Look:', run: [LOOK] });
const ADA: Principal = { id: 'user ada', scopes: new Set(['read', 'nodes']) };

/** What the caller of a change is answered if that fails so. */
async function answerTo(failure: Error, principal: Principal): Promise<{ readonly body: unknown; readonly retryAfter: unknown }> {
  const server = buildServer({
    routes: [],
    registry: new ReopenedRegistry(undefined, () => Promise.reject(failure)),
    services: {} as RouteServices,
    opened: Promise.resolve(),
    checkRequest: () => undefined,
    authenticate: () => principal,
    extend: (own) =>
      void own.patch('/change', { config: { scope: 'nodes', isLimitable: true } }, () => {
        throw failure;
      }),
    log: new CapturedLog().log,
  });
  const { body, headers } = await server.inject({ method: 'PATCH', url: '/change' });
  expect(body).not.toContain('192.0.2.1');
  return { body: JSON.parse(body), retryAfter: headers['retry-after'] };
}

it('a change that failed may be sent again', async () => {
  expect(await answerTo(new Failure('no space left at 192.0.2.1'), ADA)).toMatchObject({
    body: { status: 503, detail: 'The log of the API says why.' },
    retryAfter: '5',
  });
});

it('a change in doubt is not sent again before somebody has looked: the answer says where', async () => {
  const { body, retryAfter } = await answerTo(DOUBT, ADA);
  expect(body).toMatchObject({
    status: 503,
    detail: 'It is not known whether the registry took the change. The log of the API says why.',
    advice: 'Entry 7 tells. Look:',
    run: [LOOK.join(' ')],
  });
  expect(retryAfter).toBeUndefined();
});

it('a caller with limits is told no number of an entry', async () => {
  const { body } = await answerTo(DOUBT, { ...ADA, limits: { orders: [1] } });
  expect(body).toMatchObject({ advice: 'Ask an administrator what the audit log has of it.' });
  expect(body).not.toHaveProperty('run');
});
