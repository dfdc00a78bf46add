// Proves which sockets a place to listen on takes where the machine has not all of its addresses,
// or a port is taken.

import { describe, expect, it } from 'vitest';
import { listenAt } from '../src/places.js';
import type { Address, Endpoint } from '@latchkey/runtime/net';

interface Fake {
  readonly address: Endpoint;
  stop(): Promise<void>;
}

/**
 * A machine on which bind(2) says what `refuse` does; tells what was bound, and what was closed
 * again.
 */
function machine(refuse: (address: Address, port: number) => string | undefined) {
  const [bound, stopped]: [string[], string[]] = [[], []];
  let nextPort = 40_000;
  const listen = ({ address, family }: Address, asked: number): Promise<Fake> => {
    const port = asked === 0 ? nextPort++ : asked;
    const code = refuse({ address, family }, port);
    if (code !== undefined) return Promise.reject(Object.assign(new Error(code), { code }));
    bound.push(`${address} ${port}`);
    return Promise.resolve({
      address: { host: address, port },
      stop: async () => void stopped.push(`${address} ${port}`),
    });
  };
  return { bound, stopped, listen };
}

const ALL = { host: '::', port: 5683 };

describe('[::]', () => {
  it('is a socket for each family', async () => {
    const { bound, listen } = machine(() => undefined);
    expect((await listenAt(ALL, listen)).map(({ address }) => address.host)).toEqual(['::', '0.0.0.0']);
    expect(bound).toEqual([':: 5683', '0.0.0.0 5683']);
  });

  it.each(['EAFNOSUPPORT', 'EADDRNOTAVAIL'])('is one of IPv4 where the kernel says %s to IPv6', async (code) => {
    const { bound, listen } = machine(({ family }) => (family === 6 ? code : undefined));
    expect(await listenAt(ALL, listen)).toHaveLength(1);
    expect(bound).toEqual(['0.0.0.0 5683']);
  });

  it('is nothing where another process has the port of one family', async () => {
    const { stopped, listen } = machine(({ family }) => (family === 4 ? 'EADDRINUSE' : undefined));
    await expect(listenAt(ALL, listen)).rejects.toMatchObject({
      message: 'cannot listen on [::]:5683: another process listens there',
    });
    expect(stopped).toEqual([':: 5683']);
  });

  it('on any port is on one that is free for both families', async () => {
    const { stopped, listen } = machine(({ family }, port) => (family === 4 && port < 40_002 ? 'EADDRINUSE' : undefined));
    const servers = await listenAt({ host: '::', port: 0 }, listen);
    expect(servers.map(({ address }) => address)).toEqual([
      { host: '::', port: 40_002 },
      { host: '0.0.0.0', port: 40_002 },
    ]);
    expect(stopped).toEqual([':: 40000', ':: 40001']);
  });

  it('on any port is not looked for without end', async () => {
    const { stopped, listen } = machine(({ family }) => (family === 4 ? 'EADDRINUSE' : undefined));
    await expect(listenAt({ host: '::', port: 0 }, listen)).rejects.toMatchObject({ name: 'Failure' });
    expect(stopped).toHaveLength(8);
  });
});

describe('an address with a zone', () => {
  it('that is no interface of this machine is told of by its name', async () => {
    const { listen } = machine(() => 'EINVAL');
    await expect(listenAt({ host: 'fe80::1%wg_home', port: 5683 }, listen)).rejects.toMatchObject({
      message: 'cannot listen on [fe80::1%wg_home]:5683: this machine has no interface wg_home',
      advice: 'Compare the name after the % with what `ip link` shows.',
    });
  });
});
