// compose.yaml, up for real: who joins, who reaches whom, what the logs hold, what restarts and
// kills do, what is left.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  BASE_IMAGE,
  ComposeNetwork,
  docker,
  dockerOutcome,
  findEngine,
  type LogLine,
  parse,
  ROOT,
  waitForLine,
  words,
} from './containers.js';
import { freeTcpPort } from '../src/network.js';
import { openConsole } from '../test/console-visitor.js';

const engine = findEngine();
const consolePort = await freeTcpPort();
const why = 'missing' in engine ? ` SKIPPED: ${engine.missing}` : '';

const DAEMONS = ['auth-server', 'controller', 'node-agent'] as const;
const SERVERS = ['auth-server', 'controller-a', 'controller-b'];
const MIB = 2 ** 20;
const EVERY_SERVICE = ['setup', ...SERVERS, 'console', 'node-a', 'node-b', 'node-lossy', 'lossy-link'];

/**
 * Sends a CoAP ping to HOST PORT each half second. Prints `answered` once an answer comes,
 * `silence` if none comes within SECONDS, or the code of an error.
 */
const PING = `
  const socket = require('node:dgram').createSocket('udp4');
  const [, host, port, seconds] = process.argv;
  const end = (what) => { console.log(what); process.exit(); };
  socket.on('message', () => end('answered'));
  socket.on('error', (error) => end(error.code));
  const send = () => socket.send(Buffer.from([0x40, 0, 0x12, 0x34]), Number(port), host, (error) => error && end(error.code));
  send();
  setInterval(send, 500);
  setTimeout(() => end('silence'), 1000 * Number(seconds));
`;
/** For a ping that must be answered, and for one that must not, in seconds. */
const [OPEN, DENIED] = [120, 3];
/** For a container to end on SIGTERM before the engine kills it, in seconds. */
const STOP_TIMEOUT = '120';

const joined = ({ msg }: LogLine): boolean => msg === 'joined';

describe.skipIf('missing' in engine)(`docker compose${why}`, () => {
  const network = new ComposeNetwork('missing' in engine ? ['docker'] : engine.compose, consolePort);
  let nodes: string[] = [];
  /** Keys of all kinds, 32 hex digits each, as they were found in the parties' files. */
  const keys = new Set<string>();

  beforeAll(async () => {
    for (const daemon of DAEMONS) await network.build(daemon);
    await network.compose('build');
    await network.compose('up', '-d');
    nodes = [...(await network.containers('node-a')), ...(await network.containers('node-b'))];
  });

  afterAll(() => network.remove());

  async function ping(from: string, host: string, port: number, seconds: number): Promise<string> {
    return (await docker('exec', from, 'node', '-e', PING, host, String(port), String(seconds))).trim();
  }

  async function addressOf(service: string, ofNetwork: string): Promise<string> {
    const format = `{{(index .NetworkSettings.Networks "${network.project}_${ofNetwork}").IPAddress}}`;
    return (await docker('inspect', '--format', format, await network.container(service))).trim();
  }

  async function inspect<T>(container: string, what: string): Promise<T> {
    return JSON.parse(await docker('inspect', '--format', `{{json ${what}}}`, container)) as T;
  }

  /** In how many ms after its key each node of the order renews, as its state has it. */
  async function scheduledRenewals(service: string): Promise<number[]> {
    const [container = ''] = await network.containers(service);
    const text = await docker('exec', container, 'sh', '-c', 'cat /var/lib/latchkey/*/node.json');
    return [...text.matchAll(/"renew_after":\s*\{\s*"ms":\s*(\d+)/g)].map(([, ms]) => Number(ms));
  }

  async function gatherKeys(): Promise<void> {
    const files: readonly (readonly [service: string, files: string])[] = [
      ['auth-server', '/var/lib/latchkey/auth-server/master.key'],
      ...['a', 'b'].map(
        (x) => [`controller-${x}`, '/var/lib/latchkey/controller/master.key /etc/latchkey/controller/credential.json'] as const,
      ),
      ...['a', 'b'].map((x) => [`node-${x}`, '/var/lib/latchkey/*/node.json /etc/latchkey/order/manifest.csv'] as const),
    ];
    for (const [service, paths] of files) {
      const [container = ''] = await network.containers(service);
      const text = await docker('exec', container, 'sh', '-c', `cat ${paths}`);
      const found = text.match(/\b[0-9a-f]{32}\b/gi) ?? [];
      expect(found.length, `keys of ${service}`).toBeGreaterThan(0);
      for (const key of found) keys.add(key.toLowerCase());
    }
  }

  it('starts six nodes that join', async () => {
    expect(nodes).toHaveLength(6);
    const lines = await Promise.all(nodes.map((node) => waitForLine(node, joined)));
    expect(new Set(lines.map(({ node }) => node)).size).toBe(6);
    expect(new Set(lines.map(({ lifetimeSeconds }) => lifetimeSeconds))).toEqual(new Set([80]));
    // One order has a key for each node, the other one for all.
    const [a, b] = [lines.slice(0, 3), lines.slice(3)].map((each) => new Set(each.map(({ keyBefore }) => keyBefore)).size);
    expect([a, b]).toEqual([3, 1]);
    await gatherKeys();
  });

  it('lets nodes reach their controller alone, and controllers the auth-server', async () => {
    const [nodeA = ''] = await network.containers('node-a');
    const [nodeB = ''] = await network.containers('node-b');
    const [controllerA, controllerB] = [await network.container('controller-a'), await network.container('controller-b')];
    const server = await addressOf('auth-server', 'backbone');
    const backboneOfA = await addressOf('controller-a', 'backbone');
    const [fieldA, fieldB] = [await addressOf('controller-a', 'field-a'), await addressOf('controller-b', 'field-b')];
    expect(
      await Promise.all([
        ping(controllerA, 'auth-server', 5693, OPEN),
        ping(controllerB, server, 5693, OPEN),
        ping(nodeA, 'controller-a', 5683, OPEN),
        ping(nodeB, fieldB, 5683, OPEN),
      ]),
    ).toEqual(['answered', 'answered', 'answered', 'answered']);
    const denied = await Promise.all([
      ping(nodeA, server, 5693, DENIED),
      ping(nodeB, server, 5693, DENIED),
      ping(nodeA, 'auth-server', 5693, DENIED),
      ping(nodeA, backboneOfA, 5683, DENIED),
      ping(nodeA, fieldB, 5683, DENIED),
      ping(nodeB, fieldA, 5683, DENIED),
    ]);
    expect(denied.filter((how) => !['ENETUNREACH', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'silence'].includes(how))).toEqual(
      [],
    );
  });

  it('shows the registry to the administrator', async () => {
    const list = JSON.parse(await network.compose('run', '--rm', '-T', 'admin', 'node', 'list', '--json')) as {
      readonly state: string;
    }[];
    expect(list).toHaveLength(64);
    expect(list.filter(({ state }) => state === 'joined').length).toBeGreaterThanOrEqual(6);
  });

  it('serves the console on loopback only, with a link to sign in in the log', async () => {
    const [link = ''] = /http:\S+#link=\S+/.exec(await docker('logs', await network.container('setup'))) ?? [];
    expect(new URL(link).origin).toBe(network.origin);
    await waitForLine(await network.container('auth-server'), ({ msg }) => msg === 'serving the API to browsers');
    const ask = await openConsole(link);
    expect(await ask('/v1/summary')).toMatchObject({ nodes: { total: 64 }, controllers: { total: 2 } });
    const ports = await inspect<Record<string, readonly { readonly HostIp: string }[] | null>>(
      await network.container('console'),
      '.NetworkSettings.Ports',
    );
    expect(Object.values(ports).flatMap((bound) => bound ?? [])).toEqual([
      { HostIp: '127.0.0.1', HostPort: new URL(network.origin).port },
    ]);
    expect(await network.compose('run', '--rm', '-T', 'admin', 'user', 'link', 'ada')).toContain(
      `${network.origin}/sign-in#link=`,
    );
  });

  it('carries nodes over a lossy link', async () => {
    const far = await network.containers('node-lossy');
    expect(far).toHaveLength(2);
    await Promise.all(far.map((node) => waitForLine(node, joined)));
  });

  it('outlives a restart of each service and kill -9 of the auth-server, and the nodes renew within 80 s', async () => {
    const first = await Promise.all(nodes.map((node) => waitForLine(node, joined)));
    const since = String(Date.now() / 1000);
    for (const service of EVERY_SERVICE) await network.compose('restart', '-t', STOP_TIMEOUT, service);
    // 137: it did not end on SIGTERM, and was killed.
    expect(new Set(await network.exitCodes(since))).toEqual(new Set(['0']));
    const server = await network.container('auth-server');
    const before = Date.now();
    await kill(server);
    await waitForLine(server, ({ msg }) => msg === 'listening', before);
    expect(await inspect<number>(server, '.RestartCount')).toBe(1);

    const renewed = await Promise.all(
      nodes.map((node, i) => waitForLine(node, (line) => joined(line) && line.time !== first[i]?.time)),
    );
    expect(renewed.map(({ node }) => node)).toEqual(first.map(({ node }) => node));
    expect(renewed.map(({ keyBefore }) => keyBefore)).toEqual(first.map(({ key }) => key));
    const after = renewed.map(({ time }, i) => (Date.parse(time) - Date.parse(first[i]?.time ?? '')) / 1000);
    expect(Math.min(...after)).toBeGreaterThan(50);
    // The scheduled times, not the measured ones: a busy machine renews late.
    const scheduled = (await Promise.all(['node-a', 'node-b'].map(scheduledRenewals))).flat();
    expect(scheduled).toHaveLength(6 + 2);
    expect(Math.max(...scheduled)).toBeLessThanOrEqual(0.88 * 80_000);
    await gatherKeys();
  });

  it('adds nodes with --scale', async () => {
    await network.compose('up', '-d', '--no-build', '--no-recreate', '--scale', 'node-b=5');
    const all = await network.containers('node-b');
    expect(all).toHaveLength(5);
    const lines = await Promise.all(all.map((node) => waitForLine(node, joined)));
    expect(new Set(lines.map(({ node }) => node)).size).toBe(5);
  });

  it('runs containers that are healthy, cannot write to their root, and have no capability', async () => {
    for (const container of [...(await Promise.all(SERVERS.map((name) => network.container(name)))), ...nodes]) {
      expect(await verdictOn(container)).toBe('healthy');
      const status = await docker('exec', container, 'cat', '/proc/1/status');
      expect(status).toMatch(/^CapEff:\t0+$/m);
      expect(status).toMatch(/^CapBnd:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m);
      expect((await dockerOutcome('exec', '--user', '0', container, 'touch', '/opt/x')).stderr).toContain(
        'Read-only file system',
      );
    }
  });

  it('has no key in a log, in an environment, in an argument or in the file', async () => {
    const logs = await network.logs();
    expect(
      logs
        .split('\n')
        .map(parse)
        .filter((line) => line?.msg === 'joined').length,
    ).toBeGreaterThan(12);
    const all = await network.containers();
    const texts = [logs, await docker('inspect', ...all), await network.compose('config')];
    // 32 initial keys of one order and one of the other, two credentials, three master keys, and
    // what the nodes traded theirs for.
    expect(keys.size).toBeGreaterThan(32 + 1 + 2 + 3 + 6);
    const leaked = texts.map((text) => [...keys].filter((key) => formsOf(key).some((form) => text.includes(form))).length);
    expect(leaked).toEqual([0, 0, 0]);
  });

  it('stops on SIGTERM, and leaves nothing', async () => {
    const all = await network.containers();
    await network.compose('stop', '-t', STOP_TIMEOUT);
    const codes = await Promise.all(all.map((container) => inspect<number>(container, '.State.ExitCode')));
    expect(codes).toEqual(all.map(() => 0));
    await network.compose('down', '-v');
    expect(await network.leftovers()).toEqual([]);
  });

  describe.each(DAEMONS)('the image of %s', (daemon) => {
    const image = network.image(daemon);

    it('is small, says what it is, and runs as user 1000', async () => {
      const size = async (of: string): Promise<number> => Number(await docker('image', 'inspect', '--format', '{{.Size}}', of));
      expect((await size(image)) - (await size(BASE_IMAGE))).toBeLessThan(60 * MIB);
      const config = JSON.parse(await docker('image', 'inspect', '--format', '{{json .Config}}', image)) as {
        readonly User: string;
        readonly Labels: Readonly<Record<string, string>>;
        readonly Healthcheck: { readonly Test: readonly string[] };
      };
      const { version } = JSON.parse(readFileSync(join(ROOT, 'packages', daemon, 'package.json'), 'utf8')) as { version: string };
      expect(config.User).toBe('1000:1000');
      expect(config.Labels).toMatchObject({
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.revision': network.revision,
      });
      expect(config.Healthcheck.Test).toEqual(['CMD', `latchkey-${daemon}`, 'health']);
      expect((await docker('run', '--rm', '--read-only', '--cap-drop', 'ALL', image, '--version')).trim()).toBe(version);
    });

    it('can tell systemd that it serves, as Podman has it under a unit', async () => {
      const load = `cd /opt/latchkey/node_modules/.pnpm/koffi@*/node_modules/koffi &&
        exec node -e "console.log(typeof require(process.cwd()).load(null).func)"`;
      expect(await docker('run', '--rm', '--entrypoint', 'sh', image, '-c', load)).toBe('function\n');
    });

    it('has nothing to install or build with, and no development dependency', async () => {
      const tools = 'npm npx corepack yarn yarnpkg pnpm apt apt-get aptitude dpkg gcc cc g++ make node-gyp python3 tsc';
      const there = `for tool in ${tools}; do command -v $tool; done; find / -xdev -type d -path '*/node_modules/*' \
        \\( -name npm -o -name typescript -o -name vitest -o -name oxlint -o -name node-gyp -o -name '@types' \\) 2>/dev/null; true`;
      expect(words(await docker('run', '--rm', '--user', '0', '--entrypoint', 'sh', image, '-c', there))).toEqual([]);
    });
  });

  /** As the kernel would end it: from inside, process 1 cannot be killed. */
  async function kill(container: string): Promise<void> {
    const pid = await inspect<number>(container, '.State.Pid');
    const script = `process.kill(${pid}, 'SIGKILL')`;
    await docker(
      'run',
      '--rm',
      '--pid',
      'host',
      '--user',
      '0',
      '--entrypoint',
      'node',
      network.image('auth-server'),
      '-e',
      script,
    );
  }

  /**
   * What the image's own health check found, once it is healthy or has failed ten times in a row.
   */
  async function verdictOn(container: string): Promise<string> {
    for (;;) {
      const { Status: status, FailingStreak: failures } = await inspect<{ Status: string; FailingStreak: number }>(
        container,
        '.State.Health',
      );
      if (status === 'healthy' || failures >= 10) return status;
      // Asked again once the engine had time to look.
      const filters = ['--filter', `container=${container}`, '--filter', 'event=health_status'];
      await docker('events', ...filters, '--until', String(Math.ceil(Date.now() / 1000) + 5));
    }
  }
});

/** How a key might be written. */
function formsOf(hex: string): string[] {
  const octets = Buffer.from(hex, 'hex');
  const base64 = octets.toString('base64').replace(/=+$/, '');
  return [hex, hex.toUpperCase(), base64, octets.toString('base64url'), octets.toString('latin1')];
}
