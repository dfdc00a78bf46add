// Two auth-servers on one registry, in a PostgreSQL cluster of three: nodes join while machines are
// killed, and nobody is locked out.

import { formatId } from '@latchkey/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, type Order, TestNetwork } from '../src/network.js';
import { pollUntil } from '../src/poll-until.js';
import { PostgresCluster } from '../src/postgres-cluster.js';
import type { DaemonProcess } from '../src/process.js';
import { CONTROLLER, showNode } from './fixtures.js';
import { metricsOf, namesOf } from './http.js';
import { DatabaseMetrics } from '@latchkey/registry/postgres';

const NODES = 6;

describe.skipIf(!PostgresCluster.AVAILABLE)('two auth-servers on a cluster of three (needs postgresql)', () => {
  let cluster: PostgresCluster;
  let network: TestNetwork;
  let order: Order;
  const servers: DaemonProcess[] = [];
  const addresses: string[] = [];

  const httpOfServer = (i: number): string => `unix:${network.path(`http-${i}.sock`)}`;
  const startServer = async (i: number): Promise<void> => {
    const localData = i === 0 ? network.registry : network.path('second');
    servers[i] = await network.startAuthServerOn(localData, addresses[i] ?? '', '--http', httpOfServer(i));
  };
  const idOf = (i: number): string => formatId(order.lines[i]?.idI ?? 0);
  /** Joins, or renews; a node whose key the registry does not have gets no further. */
  const join = async (i: number): Promise<void> => {
    await network.run('node-agent', ['join', '--state', network.node(idOf(i))]);
  };

  beforeAll(async () => {
    cluster = await PostgresCluster.start(3);
    network = await TestNetwork.create({ url: `${cluster.url()}?password_file=${cluster.passwordFile}` });
    addresses.push(await freePort(), await freePort());
    const nid = await freePort();
    await network.addController(CONTROLLER, nid, addresses);
    order = await network.order({ controller: CONTROLLER, count: NODES });
    for (let i = 0; i < NODES; i++) await network.install(idOf(i), order.manifest);
    await Promise.all([startServer(0), startServer(1)]);
    await network.startController(CONTROLLER, nid);
  });

  afterAll(async () => {
    await network.remove();
    await cluster.remove();
  });

  it('lets nodes join through the other one when one is killed', async () => {
    await join(0);
    await servers[0]?.stop('SIGKILL');
    await join(1);
    await startServer(0);
    expect(await showNode(network, idOf(1))).toMatchObject({ state: 'joined' });
  });

  it('is judged by the clock of the database, and by servers elsewhere, on a machine without a server', async () => {
    const elsewhere = network.location(network.path('third'));
    const jsonOf = async (...command: readonly string[]): Promise<unknown> =>
      JSON.parse(await network.run('auth-server', [...command, '--json', ...elsewhere]));
    expect(await jsonOf('clock', 'show')).toMatchObject({ holdoff_until: null, blocked_ranges: [] });
    expect(await jsonOf('node', 'why', idOf(5))).toMatchObject({ cause: 'never-asked' });
  });

  it('does not count a server that could not start, for its address is taken', async () => {
    const fourth = network.location(network.path('fourth'));
    const running = (): Promise<string[]> => cluster.sql('SELECT id FROM latchkey.servers WHERE watching ORDER BY id');
    const before = await running();
    const { code, stderr } = await network.try('auth-server', ['run', ...fourth, '--listen', addresses[1] ?? '']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('cannot')]);
    expect(await running()).toEqual(before);
  });

  it('goes on after the primary was killed while nodes join, and locks nobody out', async () => {
    const { primary } = cluster;
    const joining = [2, 3, 4].map((i) => network.start('node-agent', ['run', '--state', network.node(idOf(i))]));
    await Promise.any(joining.map((node) => node.waitFor(({ msg }) => msg === 'joined')));
    await primary.kill();
    await cluster.promote();
    await Promise.all(joining.map((node) => node.waitFor(({ msg }) => msg === 'joined')));
    await Promise.all(joining.map((node) => node.stop()));
    // Each key that was acknowledged, before and after, opens what the node sends next.
    for (const i of [0, 1, 2, 3, 4]) await join(i);
    const audit = await network.run('auth-server', ['audit', 'list', ...network.location()]);
    // Each node once more than it joined above.
    expect(audit.match(/ node renewed /g)?.length).toBeGreaterThanOrEqual(5);
  });

  it('shows by its metrics which host it works with, how fast, and since when', async () => {
    const where = httpOfServer(1);
    const metrics = await pollUntil(
      () => metricsOf(where),
      (found) => found.get(`latchkey_database_connected{host="${cluster.primary.address}"}`) === 1,
    );
    const connected = cluster.servers.map(({ address }) => metrics.get(`latchkey_database_connected{host="${address}"}`) ?? -1);
    expect(connected.toSorted((a, b) => a - b)).toEqual([0, 0, 1]);
    expect(metrics.get('latchkey_database_timeline')).toBeGreaterThanOrEqual(2);
    for (const what of ['read', 'write']) expect(metrics.get(`latchkey_database_${what}_seconds_count`)).toBeGreaterThan(0);
    expect(metrics.has('latchkey_database_writes_in_doubt_total')).toBe(true);
    // Both clocks are this machine's.
    const heartbeat = (metrics.get('latchkey_database_heartbeat_timestamp_seconds') ?? 0) * 1_000;
    expect(Math.abs(Date.now() - heartbeat)).toBeLessThan(10 * 60_000);
    const names = new DatabaseMetrics().definitions([], () => undefined).map(({ name }) => name);
    expect((await namesOf(where)).filter((name) => name.includes('_database_')).toSorted()).toEqual(names.toSorted());
  });

  it('counts nodes by state, whichever server they joined through', async () => {
    const list = await network.run('auth-server', ['node', 'list', '--json', ...network.location()]);
    const joined = (JSON.parse(list) as { state: string }[]).filter(({ state }) => state === 'joined').length;
    expect(joined).toBeGreaterThan(0);
    for (const i of [0, 1])
      await pollUntil(
        () => metricsOf(httpOfServer(i)),
        (found) =>
          found.get('latchkey_nodes{state="joined"}') === joined &&
          found.get('latchkey_nodes{state="enrolled"}') === NODES - joined,
      );
  });

  it('serves nothing while no standby has to have a commit', async () => {
    const names = await cluster.sql('SHOW synchronous_standby_names');
    await cluster.primary.set({ synchronous_standby_names: '' });
    const failure = await pollUntil(
      () => network.try('auth-server', ['node', 'list', ...network.location()]),
      ({ code }) => code === 1,
    );
    expect(failure.stderr).toContain('synchronous_standby_names is empty: a commit is acknowledged that no standby has');
    await Promise.all(servers.map((server) => server.waitFor(({ msg }) => msg.includes('synchronous_standby_names is empty'))));
    await cluster.primary.set({ synchronous_standby_names: names[0] });
    await join(5);
  });

  it('serves nothing once acknowledged entries are lost, until that is accepted', async () => {
    // As after the promotion of a standby that had not received the last entry.
    await cluster.sql('DELETE FROM latchkey.audit WHERE seq = (SELECT max(seq) FROM latchkey.audit)');
    await cluster.primary.stop();
    await cluster.primary.start();
    await Promise.all(
      servers.map((server) => server.waitFor(({ msg }) => msg.includes('has lost entries that were acknowledged'))),
    );
    const { code, stderr } = await network.try('auth-server', ['node', 'list', ...network.location()]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('the database has lost entries that were acknowledged')]);

    const accepted = await network.run('auth-server', ['registry', 'accept', '--yes', ...network.location()]);
    expect(accepted).toContain('No node joins or renews in the first five minutes');
    await Promise.all(servers.map((server) => server.stop()));
    await startServer(1);
    expect(await network.run('auth-server', ['audit', 'verify', ...network.location()])).toContain('HEAD');
  });
});
