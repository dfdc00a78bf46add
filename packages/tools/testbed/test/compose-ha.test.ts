// The profile `ha` of compose.yaml is what its documents say: three databases that name each other,
// two auth-servers that know all of them, two controllers that know both, and six nodes.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  readonly profiles?: readonly string[];
  readonly image?: string;
  readonly build?: { readonly target?: string };
  readonly hostname?: string;
  readonly scale?: number;
  readonly networks?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const compose = parse(read('compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>;
};
const services = Object.entries(compose.services).filter(([, { profiles = [] }]) => profiles.includes('ha'));
const withTarget = (target: string): [string, Service][] => services.filter(([, { build }]) => build?.target === target);
const SCRIPTS = readdirSync(join(root, 'docker/ha')).toSorted();

describe('the profile ha of compose.yaml', () => {
  it('has what it is said to have', () => {
    const databases = withTarget('database').filter(([, { hostname }]) => hostname !== undefined);
    expect(databases.map(([name, { hostname }]) => [name, hostname])).toEqual(['db1', 'db2', 'db3'].map((name) => [name, name]));
    expect(withTarget('auth-server').map(([name]) => name)).toEqual(['auth-1', 'auth-2']);
    expect(withTarget('controller')).toHaveLength(2);
    expect(withTarget('demo-node').reduce((sum, [, { scale = 1 }]) => sum + scale, 0)).toBe(6);
  });

  it('lets auth-servers and commands reach all databases, over TLS, with the password in a file', () => {
    for (const [name, { environment = {} }] of [...withTarget('auth-server'), ...withTarget('ha-setup')]) {
      const url = new URL((environment['LATCHKEY_DATA'] ?? '').replace('db1,db2,db3', 'all'));
      expect([name, url.username, url.password, url.host]).toEqual([name, 'latchkey', '', 'all']);
      expect(['password_file', 'ca'].map((setting) => url.searchParams.get(setting))).toEqual([
        '/etc/latchkey/database/password',
        '/etc/latchkey/database/ca.pem',
      ]);
    }
  });

  it('gives each a volume of its own for its state, and lets nodes reach controllers only', () => {
    const state = services.flatMap(([, { volumes = [] }]) => volumes.filter((volume) => volume.endsWith(':/var/lib/latchkey')));
    const setup = compose.services['ha-setup']?.volumes ?? [];
    // The setup prepares the folder of the first auth-server.
    expect(new Set(state).size).toBe(state.length - 1);
    expect(setup.filter((volume) => state.filter((one) => one === volume).length === 2)).toEqual(['ha-auth-1:/var/lib/latchkey']);
    const used = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0] ?? ''));
    expect(used.filter((volume) => !(volume in compose.volumes))).toEqual([]);
    for (const [, { networks }] of withTarget('demo-node')) expect(networks).toEqual(['ha-field']);
    for (const [name, { networks = [] }] of services)
      expect([name, networks.every((network) => compose.networks[network]?.internal === true)]).toEqual([name, true]);
  });

  it('runs scripts that a shell takes, and that are in the images', () => {
    const dockerfile = read('docker/Dockerfile');
    for (const script of SCRIPTS) {
      const { status, stderr } = spawnSync('sh', ['-n', join(root, 'docker/ha', script)], { encoding: 'utf8' });
      expect([script, status, stderr]).toEqual([script, 0, '']);
    }
    // The last one is for the machine that has the engine.
    expect(SCRIPTS.filter((script) => !dockerfile.includes(`docker/ha/${script}`))).toEqual(['failover']);
    expect(read('.dockerignore')).toContain('\n!docker/ha\n');
  });
});
