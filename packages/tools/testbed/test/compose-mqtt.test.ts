// The profile `mqtt` of compose.yaml is what its documents say: six nodes that publish to a broker,
// which has their keys from `deliver`, and has no way to the rest of the network.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const FOLDER = 'docker/mqtt';
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  readonly profiles?: readonly string[];
  readonly build?: { readonly target?: string };
  readonly scale?: number;
  readonly network_mode?: string;
  readonly pid?: string;
  readonly networks?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
}

const compose = parse(read('compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>;
};
const services = Object.entries(compose.services).filter(([, { profiles = [] }]) => profiles.includes('mqtt'));
const service = (name: string): Service => compose.services[name] ?? {};
const networksOf = ({ networks = [] }: Service): string[] => (Array.isArray(networks) ? networks : Object.keys(networks));

interface Target {
  readonly label: string;
  readonly file: string;
  readonly also?: readonly { readonly file: string }[];
}
const deliver = parse(read(`${FOLDER}/deliver.yaml`)) as { readonly socket: string; readonly targets: readonly [Target] };
const node = parse(read(`${FOLDER}/node-agent.yaml`)) as { readonly targets: readonly [Target] };

describe('the profile mqtt of compose.yaml', () => {
  it('has a broker, a process that delivers its keys, and six nodes', () => {
    expect(services.map(([name, { build, scale = 1 }]) => [name, build?.target, scale])).toEqual([
      ['mqtt-broker', 'mosquitto', 1],
      ['mqtt-deliver', 'mqtt-deliver', 1],
      ['mqtt-node', 'mqtt-node', 6],
    ]);
    const used = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0] ?? ''));
    expect(used.filter((volume) => !(volume in compose.volumes))).toEqual([]);
  });

  it('lets only nodes reach the broker, and the broker only read its keys', () => {
    expect(networksOf(service('mqtt-broker'))).toEqual(['mqtt']);
    expect(compose.networks['mqtt']).toEqual({ internal: true });
    expect(networksOf(service('mqtt-node'))).toEqual(['field-a', 'mqtt']);
    expect(Object.entries(compose.services).filter(([, one]) => networksOf(one).includes('mqtt'))).toHaveLength(2);
    expect(service('mqtt-deliver')).toMatchObject({ network_mode: 'none', pid: 'service:mqtt-broker' });
    expect(service('mqtt-broker').volumes).toEqual(['mqtt-keys:/var/lib/mqtt-keys:ro']);
  });

  it('has one label and one folder at the controller, in its targets, and at the broker', () => {
    const setup = read('docker/demo/setup');
    const [, text = ''] = /^keys: (.*)$/m.exec(setup) ?? [];
    const [{ socket, labels } = { socket: '', labels: [''] }] = parse(text) as { socket: string; labels: string[] }[];
    expect(deliver.socket).toBe(socket);
    expect(service('controller-a').volumes).toContain('keys-a:/run/latchkey-keys');
    expect(socket.startsWith('/run/latchkey-keys/')).toBe(true);
    const [delivered] = deliver.targets;
    expect([delivered.label, node.targets[0].label]).toEqual([labels[0], labels[0]]);
    const broker = read(`${FOLDER}/mosquitto.conf`);
    expect(broker).toContain(`psk_file ${delivered.file}\n`);
    expect(broker).toContain(`acl_file ${delivered.also?.[0]?.file ?? ''}\n`);
    expect(read(`${FOLDER}/broker`)).toContain(delivered.file);
  });

  it('has files that are in the images, and scripts that a shell takes', () => {
    const dockerfile = read('docker/Dockerfile');
    for (const file of readdirSync(join(root, FOLDER))) {
      expect([file, dockerfile.includes(`${FOLDER}/${file}`)]).toEqual([file, true]);
      const path = join(root, FOLDER, file);
      if ((statSync(path).mode & 0o100) === 0) continue;
      const { status, stderr } = spawnSync('sh', ['-n', path], { encoding: 'utf8' });
      expect([file, status, stderr]).toEqual([file, 0, '']);
    }
    expect(read('.dockerignore')).toContain('\n!docker/mqtt\n');
  });
});
