/**
 * `bench air`: what a join costs the device, in octets and in AES blocks. Nothing here depends on
 * the machine.
 */

import { type RatioMetric, ratioMetric } from '../ratio.js';
import type { SuiteResult, Table } from '../suite.js';
import { countBlocks } from './aes-block-count.js';
import { EXCHANGES, total } from './specifications.js';

export function airSuite(): Promise<SuiteResult> {
  const [own, ...others] = EXCHANGES;
  if (own === undefined) throw new RangeError('no exchanges');
  const blocks = countBlocks();
  const octets: RatioMetric[] = others.map((other) =>
    ratioMetric(
      'octets on the air, UDP payload',
      'octets',
      { name: own.name, values: [total(own.messages, 'datagram')] },
      { name: other.name, values: [total(other.messages, 'datagram')] },
      { stable: true },
    ),
  );
  const perSide = (['controller', 'auth-server'] as const).map((side) =>
    ratioMetric(
      'AES blocks of a join',
      'n',
      { name: 'node', values: [blocks.node] },
      { name: side, values: [blocks[side]] },
      { stable: true },
    ),
  );
  return Promise.resolve({ figures: [...octets, ...perSide], remarks: [], tables: [table()] });
}

function table(): Table {
  const rows: string[][] = [];
  for (const { name, note, messages } of EXCHANGES) {
    for (const message of messages)
      rows.push([name, message.name, String(message.payload), String(message.datagram), message.source]);
    rows.push([name, 'all of it', String(total(messages, 'payload')), String(total(messages, 'datagram')), note]);
  }
  return { title: 'Octets on the air', head: ['exchange', 'message', 'payload', 'with CoAP', 'source'], rows };
}
