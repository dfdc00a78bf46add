// npm's oidc-provider, in a process of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ApiConfig } from '@latchkey/api/config';
import { onTestFinished } from 'vitest';
import { tempFolder } from './fixtures.js';

export const CLIENT_SECRET = 'a client secret of 32 characters';

/**
 * Signs in whoever gives a name: `eve` is in no group. Ends its session on request. Its port is in
 * its first line.
 */
const PROVIDER = `
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';
const groups = { cy: ['plant-ops'], bo2: ['plant-admins'], ada: ['staff', 'plant-ops', 'plant-admins'], bo: ['plant-ops'], eve: ['staff'] };
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = 'http://127.0.0.1:' + server.address().port;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'latchkey',
      client_secret: process.argv[1],
      token_endpoint_auth_method: 'client_secret_post',
      redirect_uris: [process.argv[2] + '/sign-in'],
      post_logout_redirect_uris: [process.argv[2] + '/sign-in'],
    }],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({ sub, preferred_username: sub.replace(/2$/, ''), groups: groups[sub] ?? groups.bo }),
    }),
  });
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (request.url !== '/cy-leaves') return answer(request, response);
    groups.cy = [];
    response.end();
  });
  process.stdout.write(issuer + '\\n');
});
`;

export interface RunningProvider {
  readonly issuer: string;
  readonly child: ChildProcess;
  /** `oidc:` of an API that knows it. */
  readonly config: NonNullable<ApiConfig['oidc']>;
}

/** @param origin of the console */
export async function startProvider(origin: string): Promise<RunningProvider> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROVIDER, CLIENT_SECRET, origin], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const { value } = (await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()) as { value: string };
  const secretFile = join(await tempFolder(), 'client-secret');
  await writeFile(secretFile, `${CLIENT_SECRET}\n`, { mode: 0o600 });
  return {
    issuer: value,
    child,
    config: {
      issuer: value,
      client_id: 'latchkey',
      client_secret_file: secretFile,
      role_claim: 'groups',
      name_claim: 'preferred_username',
      roles: { 'plant-ops': 'operator', 'plant-admins': 'admin' },
      scopes: ['profile'],
    },
  };
}
