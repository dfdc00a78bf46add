import { expect, it } from 'vitest';
import { apiConfigSchema } from '../src/config.js';

const parse = (browser: object): ReturnType<typeof apiConfigSchema.safeParse> =>
  apiConfigSchema.safeParse({ socket: '/run/api.sock', browser });

it.each([
  'http://localhost:8080',
  'http://127.0.0.1:8080',
  'http://[::1]:8080',
  'https://plant.example',
  'https://plant.example:8443',
])('a browser finds the console at %s', (origin) => {
  expect(parse({ listen: ['127.0.0.1:8080', '[::1]:8080', 'localhost:8080'], origin }).success).toBe(true);
});

it.each([
  'http://plant.example:8080',
  'http://localhost:8080/',
  'http://localhost:8080/console',
  'HTTP://localhost:8080',
  'http://localhost:80',
  'http://localhost.evil.example:8080',
  'http://ada@localhost:8080',
  'https://plant.example:443',
  'null',
  '',
])('no browser has the origin %s, or it keeps no cookie of it', (origin) => {
  const { error } = parse({ listen: ['127.0.0.1:8080'], origin });
  expect(error?.issues.map(({ path }) => path.join('.'))).toEqual(['browser.origin']);
});

it.each(['0.0.0.0:8080', '[::]:8080', '192.0.2.7:8080', 'plant.example:8080', '1270.0.0.1:80'])(
  'in clear the listener is on no address such as %s',
  (listen) => {
    const { error } = parse({ listen: [listen], origin: 'http://localhost:8080' });
    expect(error?.issues.map(({ path }) => path.join('.'))).toEqual(['browser.listen.0']);
  },
);

it('browsers are served somewhere: on loopback, or on a socket for the gateway, which leads to any host', () => {
  const origin = 'https://plant.example:8443';
  expect(parse({ origin }).error?.issues.map(({ path }) => path.join('.'))).toEqual(['browser']);
  expect(parse({ origin, socket: '/run/browser.sock', group: 'latchkey-api-gateway' }).success).toBe(true);
});
