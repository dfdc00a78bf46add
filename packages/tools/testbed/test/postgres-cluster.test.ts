// The cluster and the proxy that the tests of PostgreSQL stand on do what a network of three
// machines does.

import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { pollUntil } from '../src/poll-until.js';
import { DATABASE, PostgresCluster } from '../src/postgres-cluster.js';
import { PostgresProxy, type Fate } from '../src/postgres-proxy.js';
import { runSql } from '../src/postgres-server.js';

describe.skipIf(!PostgresCluster.AVAILABLE)('a cluster of three (needs postgresql)', () => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    cluster = await PostgresCluster.start(3);
    await cluster.untilStreaming();
    await cluster.sql('CREATE TABLE t (n integer)');
  });

  afterAll(() => cluster.remove());

  it('is cut off at any octet of a message, and gets what was held back', async () => {
    const proxy = await PostgresProxy.start(cluster.primary.port);
    onTestFinished(() => proxy.close());
    const insert = (n: number): Promise<string[]> => runSql(proxy.address, `INSERT INTO t VALUES (${n})`, DATABASE);
    const decideOn = (type: string, fate: Fate): void => {
      proxy.decide = (message) => (message.type === type ? fate : 'forward');
    };

    decideOn('Q', { kind: 'cut', after: 3 });
    await expect(insert(10)).rejects.toThrow('server closed the connection');
    decideOn('C', { kind: 'cut', after: 0 });
    await expect(insert(11)).rejects.toThrow('server closed the connection');
    decideOn('Q', { kind: 'hold', after: 3 });
    const held = insert(12);
    await pollUntil(
      () => proxy.heldCount,
      (count) => count === 1,
    );
    expect(await cluster.sql('SELECT n FROM t')).toEqual(['11']);
    proxy.release();
    await held;
    expect(await cluster.sql('DELETE FROM t RETURNING n')).toEqual(['11', '12']);
  });

  it('loses no acknowledged row with its primary, and takes the old one in again', async () => {
    const { primary: old, folder } = cluster;
    await cluster.sql('INSERT INTO t VALUES (1)');
    old.pause();
    const promoted = await cluster.promote();
    await old.kill();
    expect(promoted).not.toBe(old);
    await cluster.untilStreaming(1);
    await cluster.sql('INSERT INTO t VALUES (2)');
    await cluster.rejoin(old);
    await cluster.untilStreaming(2);
    await pollUntil(
      () => old.sql('SELECT n FROM t ORDER BY n', DATABASE),
      (rows) => rows.join() === '1,2',
    );

    await cluster.remove();
    expect(existsSync(folder)).toBe(false);
    expect(cluster.servers.map(({ isRunning }) => isRunning)).toEqual([false, false, false]);
  });
});
