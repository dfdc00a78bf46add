// What documents, alerts, dashboards and units say is what the daemons do: every metric is
// documented, and none is made up.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatabaseMetrics } from '@latchkey/registry/postgres';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall } from './fixtures.js';
import { get, httpOf, metricsOf, namesOf } from './http.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const operations = read('docs/OPERATIONS.md');
/** What prom-client tells of every process. */
const OF_THE_PROCESS = /^(?:process|nodejs)_/;

interface Rule {
  readonly alert: string;
  readonly expr: string;
}
const rules = (parse(read('docker/observe/alerts.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(read('docker/observe/latchkey.json')) as { panels: { targets: { expr: string }[] }[] };

describe('metrics', () => {
  let network: TestNetwork;
  let exported: ReadonlySet<string>;
  let sockets: string;
  beforeAll(async () => {
    network = await TestNetwork.create();
    sockets = network.path('sockets');
    mkdirSync(sockets);
    const http = (name: string): string => `unix:${join(sockets, `${name}.sock`)}`;
    const [server, address] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [server]);
    const { state } = await orderAndInstall(network);
    const deliver = await network.file(
      'deliver.yaml',
      `socket: ${network.path('keys.sock')}\nstate: ${network.path('deliver')}\ntargets: [{ label: a, file: ${network.path('x.psk')}, format: psk }]\n`,
    );
    const daemons = [
      await network.startAuthServer(server, '--http', http('auth-server')),
      await network.startController(CONTROLLER, address, '--http', http('controller')),
      network.start('node-agent', ['run', '--state', state, '--http', http('node')]),
      network.start('controller', ['deliver', '--config', deliver, '--http', http('deliver')]),
    ];
    const places = await Promise.all(daemons.map(httpOf));
    // Those that a server on a database has too: postgres.test.ts asks one for them.
    const ofDatabase = new DatabaseMetrics().definitions([], () => undefined).map(({ name }) => name);
    exported = new Set([...(await Promise.all(places.map(namesOf))).flat(), ...ofDatabase]);
  });
  afterAll(() => network.remove());

  it('are in the table of docs/OPERATIONS.md, each and no other', () => {
    const rows = [...operations.matchAll(/^\| `(latchkey_\w+)` \|/gm)].map((match) => match[1] ?? '');
    expect(rows.toSorted()).toEqual([...exported].filter((name) => !OF_THE_PROCESS.test(name)).toSorted());
    expect(operations).toContain('| `process_*`, `nodejs_*` |');
  });

  it.each([
    ['alerts', rules.map(({ expr }) => expr)],
    ['the dashboard', dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))],
  ])('that %s ask for are there', (_, expressions) => {
    const asked = expressions.flatMap((expr) => expr.match(/\b(?:latchkey|process|nodejs)_\w+/g) ?? []);
    expect(asked.length).toBeGreaterThan(8);
    const families = asked.map((name) => (exported.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '')));
    expect(families.filter((name) => !exported.has(name))).toEqual([]);
  });

  it('reach Prometheus from unix sockets through the relay', async () => {
    const child = spawn(process.execPath, [join(root, 'packages/tools/testbed/dist/metrics-relay.js'), sockets, '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
      const where = `127.0.0.1:${line.split(' ').at(-1)}`;
      const targets = JSON.parse((await get(where, '/targets')).text) as { labels: Record<string, string>; targets: string[] }[];
      expect(targets.map(({ labels }) => labels['instance'] ?? '').toSorted()).toEqual([
        'auth-server',
        'controller',
        'deliver',
        'node',
      ]);
      expect(targets[0]?.targets).toEqual([where]);
      const { status, text, type } = await get(where, '/metrics/controller');
      expect({ status, type }).toEqual({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
      expect(text).toContain('daemon="controller"');
      for (const path of ['/', '/metrics/../x', '/metrics/nobody']) expect((await get(where, path)).status).toBe(404);
      expect((await metricsOf(`unix:${join(sockets, 'node.sock')}`)).has('latchkey_node_joined')).toBe(true);
    } finally {
      child.kill();
    }
  });
});

describe('alerts', () => {
  const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

  it.skipIf(!hasPromtool)('are rules that Prometheus takes, and so is its configuration (needs promtool)', () => {
    for (const args of [
      ['check', 'rules', join(root, 'docker/observe/alerts.yml')],
      ['check', 'config', '--syntax-only', join(root, 'docker/observe/prometheus.yml')],
    ]) {
      const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
      expect(status, stdout + stderr).toBe(0);
    }
  });

  it('have a row each in docs/OPERATIONS.md that says where to look', () => {
    const table = operations.slice(operations.indexOf('| alert | look at |'));
    const named = [...table.matchAll(/^\| (Latchkey[\w, ]+?) \|/gm)].flatMap((match) => (match[1] ?? '').split(', '));
    expect(named).toEqual(rules.map(({ alert }) => alert));
  });
});

describe('units', () => {
  const folder = join(root, 'packaging/systemd');
  const units = readdirSync(folder).toSorted();
  const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;

  it('are there for each daemon, for the API, its gateway and webhooks, and for a join once', () => {
    expect(units).toEqual([
      'latchkey-auth-server-api.service',
      'latchkey-auth-server-deliver.service',
      'latchkey-auth-server-gateway.service',
      'latchkey-auth-server-webhooks.service',
      'latchkey-auth-server.service',
      'latchkey-controller-deliver.service',
      'latchkey-controller.service',
      'latchkey-node-agent-join.service',
      'latchkey-node-agent-join.timer',
      'latchkey-node-agent.service',
    ]);
  });

  it('reload those daemons that read something anew, and no other', () => {
    const reloads = (path: string, word: string): boolean => readFileSync(join(root, path), 'utf8').includes(word);
    for (const name of ['auth-server', 'controller', 'node-agent']) {
      const can = reloads(`packages/${name}/src/commands/run.ts`, 'reload()');
      expect(reloads(`packaging/systemd/latchkey-${name}.service`, 'ExecReload='), name).toBe(can);
      expect(reloads(`packaging/openwrt/latchkey-${name}`, 'reload_service'), name).toBe(can);
    }
  });

  it('let a node write the file of `targets:` that its configuration shows, and wait for activate_after', () => {
    const file = /^# +file: \/run\/(.+)\/[^/]+$/m.exec(read('packaging/config/node-agent.yaml'))?.[1];
    const text = (unit: string): string => readFileSync(join(folder, unit), 'utf8');
    for (const unit of ['latchkey-node-agent.service', 'latchkey-node-agent-join.service'])
      expect(/^RuntimeDirectory=(.+)$/m.exec(text(unit))?.[1], unit).toBe(file);
    const joinUnit = text('latchkey-node-agent-join.service');
    expect(joinUnit).toContain('\nRuntimeDirectoryPreserve=yes\n');
    const minutes = Number(/^TimeoutStartSec=(\d+)min$/m.exec(joinUnit)?.[1]);
    const longestWait = Number(/MAX_ACTIVATE_AFTER = (\d+);/.exec(read('packages/node-agent/src/targets.ts'))?.[1]);
    // Three minutes for an attempt, and one each for the hook and for the files after the wait.
    expect(60 * minutes).toBeGreaterThanOrEqual(180 + 60 + longestWait + 60);
  });

  it('let combined mode write where the configuration and docs/OPERATIONS.md have its registry', () => {
    const registryIn = (text: string): string | undefined => /registry: (\/[^\s,]+)/.exec(text)?.[1];
    const folder = registryIn(readFileSync(join(root, 'packaging/config/controller.yaml'), 'utf8'));
    expect(folder).toMatch(/^\/var\/lib\/latchkey\/controller\/./);
    expect(registryIn(operations)).toBe(folder);
  });

  it.skipIf(!hasAnalyze).each(units.filter((unit) => unit.endsWith('.service')))(
    '%s is exposed by 2.0 at most, deliver by 3.5 (needs systemd-analyze)',
    (unit) => {
      // It writes under other users, and runs the programs of its configuration.
      const limit = unit.endsWith('-deliver.service') ? 3.5 : 2;
      const { stdout, stderr } = spawnSync('systemd-analyze', ['security', '--offline=true', join(folder, unit)], {
        encoding: 'utf8',
      });
      const level = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(level, stdout + stderr).toBeLessThanOrEqual(limit);
    },
  );

  it.skipIf(!hasAnalyze)('have nothing that systemd does not understand (needs systemd-analyze)', async () => {
    const network = await TestNetwork.create();
    try {
      const paths = units.map((unit) => {
        const path = network.path(unit);
        // The commands are installed elsewhere.
        writeFileSync(path, readFileSync(join(folder, unit), 'utf8').replaceAll(/\/usr\/bin\/latchkey-[a-z-]+/g, '/bin/true'));
        return path;
      });
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], { encoding: 'utf8' });
      expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
    } finally {
      await network.remove();
    }
  });
});
