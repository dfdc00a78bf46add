/** Somebody who opens the console by a one-time link. */

import { expect } from 'vitest';

const PASSWORD = 'correct horse battery';

/** Asks the API as a page of the console does. */
export type Ask = (path: string) => Promise<unknown>;

/** Loads the page, sets a password, and returns what asks the API from then on. */
export async function openConsole(link: string): Promise<Ask> {
  const { origin, hash } = new URL(link);
  const page = await fetch(link);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<div id="console">')]);
  const signedIn = await fetch(`${origin}/v1/login/link`, {
    method: 'POST',
    headers: { origin, 'content-type': 'application/json' },
    body: JSON.stringify({ token: hash.slice('#link='.length), password: PASSWORD }),
  });
  expect(signedIn.status).toBe(200);
  const { secret } = (await signedIn.json()) as { readonly secret: string };
  const [cookie = ''] = signedIn.headers.getSetCookie()[0]?.split(';') ?? [];
  return async (path) => {
    const answer = await fetch(origin + path, { headers: { cookie, 'x-latchkey-session': secret } });
    expect(answer.status).toBe(200);
    return answer.json();
  };
}
