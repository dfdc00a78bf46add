/**
 * One POST of a webhook, as https://www.standardwebhooks.com has it: the signature is over ID, time
 * and body.
 */

import { createHmac } from 'node:crypto';
import { lookup as lookupAll, type LookupAddress } from 'node:dns';
import { request as requestHttp, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { BlockList, type LookupFunction } from 'node:net';
import { unmapIPv4 } from '@latchkey/runtime/net';

const TIMEOUT_MS = 15_000;

export interface Delivery {
  readonly id: string;
  readonly body: string;
}

export interface Target {
  readonly url: URL;
  readonly secret: Uint8Array;
  /** Whether a name may lead to a private or local address. */
  readonly allowsPrivate: boolean;
}

/** Private, local and unassigned address ranges. */
const NOT_PUBLIC = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['::', 127],
  // These carry IPv4 addresses, local ones too.
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv6');

export function isPublic(address: string): boolean {
  const plain = unmapIPv4(address);
  return !NOT_PUBLIC.check(plain, plain.includes(':') ? 'ipv6' : 'ipv4');
}

/** Connects only to addresses that were checked. */
const lookupPublic: LookupFunction = (hostname, options, callback) => {
  lookupAll(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    const addresses = error === null ? found.filter(({ address }) => isPublic(address)) : [];
    const [first] = addresses;
    if (first === undefined) {
      const refused = error ?? new Error('the name leads to private addresses only: `private: true` allows that');
      callback(refused, options.all === true ? [] : '', 0);
    } else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

function signatureOf(secret: Uint8Array, { id, body }: Delivery, timestamp: number): string {
  return `v1,${createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/**
 * Resolves once the receiver has accepted it. Redirects are not followed, and the body of the
 * answer is not read.
 */
export function deliver({ url, secret, allowsPrivate }: Target, delivery: Delivery, signal: AbortSignal): Promise<void> {
  const timestamp = Math.floor(Date.now() / 1_000);
  const body = Buffer.from(delivery.body, 'utf8');
  const options: RequestOptions = {
    method: 'POST',
    agent: false,
    signal,
    headers: {
      'content-type': 'application/json',
      'content-length': body.length,
      'user-agent': 'latchkey-webhooks',
      'webhook-id': delivery.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signatureOf(secret, delivery, timestamp),
    },
    // An address in the URL was named, and is not looked up.
    ...(allowsPrivate || url.protocol === 'http:' ? {} : { lookup: lookupPublic }),
  };
  return new Promise((resolve, reject) => {
    const sent = url.protocol === 'https:' ? requestHttps(url, options) : requestHttp(url, options);
    const deadline = setTimeout(() => sent.destroy(new Error('the receiver does not answer')), TIMEOUT_MS);
    sent.on('close', () => clearTimeout(deadline));
    sent.on('error', reject);
    sent.on('response', (response) => {
      const { statusCode = 0 } = response;
      response.destroy();
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new Error(`the receiver answered ${statusCode}`));
    });
    sent.end(body);
  });
}
