/**
 * The auth-server as a process: how long until it listens, and what memory it takes before and
 * after joins.
 */

import type { Secret } from '@latchkey/protocol';
import { CoapClient } from '@latchkey/coap';
import { parseEndpoint } from '@latchkey/runtime/net';
import { Daemon } from '../daemon.js';
import { install } from '../installed.js';
import type { Measurement } from '../interleave.js';
import { JOINS_PER_BATCH, runConcurrently, join, prepareJoin } from './joins.js';
import type { RegistryFixture } from './registry-fixture.js';

export type ServerCost = Measurement<
  'startMs' | 'anonymousMiB' | 'residentMiB' | 'anonymousAfterMiB' | 'residentAfterMiB' | 'cpuUsPerJoin'
>;

const IN_FLIGHT = 64;
/** Message IDs of one socket are used once in 247 s (RFC 7252 section 4.8.2). */
const SOCKETS = 8;
const DEADLINE_MS = 20_000;

/** @param registryOptions of `run`, where the registry is */
export async function measureServer(
  fixture: RegistryFixture,
  joins: number,
  registryOptions: readonly string[] = ['--data', fixture.folder],
): Promise<ServerCost> {
  await install('auth-server');
  const since = performance.now();
  const daemon = await Daemon.start('auth-server', ['run', ...registryOptions, '--listen', '127.0.0.1:0']);
  try {
    const startMs = performance.now() - since;
    const before = daemon.resources();
    await joinOver(daemon.address, fixture, await fixture.skCs(), joins);
    const after = daemon.resources();
    return {
      startMs,
      anonymousMiB: before.anonymousMiB,
      residentMiB: before.residentMiB,
      anonymousAfterMiB: after.anonymousMiB,
      residentAfterMiB: after.residentMiB,
      cpuUsPerJoin: ((after.cpuMs - before.cpuMs) * 1000) / joins,
    };
  } finally {
    await daemon.stop();
  }
}

async function joinOver(address: string, { fleet }: RegistryFixture, skCs: Secret, joins: number): Promise<void> {
  const peer = parseEndpoint(address);
  if (peer === undefined) throw new Error(`the auth-server listens on ${address}`);
  const options = { peer, tokenLength: 8, maxInFlight: IN_FLIGHT };
  const clients = await Promise.all(Array.from({ length: SOCKETS }, () => CoapClient.connect(options)));
  let turn = 0;
  const answer = async (payload: Uint8Array): Promise<string> => {
    turn = (turn + 1) % SOCKETS;
    const outcome = await clients[turn]?.exchange({
      payload,
      deadlineMs: DEADLINE_MS,
      maxIgnored: 1,
      accept: ({ code }) => code,
    });
    return outcome?.kind === 'answered' ? outcome.value : `nothing (${outcome?.kind})`;
  };
  try {
    for (let done = 0; done < joins;) {
      const nodes = fleet.pick(Math.min(JOINS_PER_BATCH, joins - done));
      const prepared = nodes.map((i) => prepareJoin(fleet, i, skCs));
      await runConcurrently(prepared, IN_FLIGHT, (one) => join(fleet, one, answer));
      done += prepared.length;
    }
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}
