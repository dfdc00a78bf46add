// An administrator on another machine, which is a network namespace: there is no way to the server
// but its address, and nothing of the server's disk. Real processes.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { formatId } from '@latchkey/protocol';
import { decryptManifest, generateRecipient, parseManifest } from '@latchkey/provisioning';
import { recordOutput } from '@latchkey/test-support/output-record';
import { expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, showNode } from './fixtures.js';

/** 198.18.0.0/15 is for tests of networks; a process has its own part of it. */
const SUBNET = `198.18.${(process.pid >> 6) & 0xff}.${(process.pid & 0x3f) << 2}`;
const endOf = (host: number): string => SUBNET.replace(/\d+$/, (last) => String(Number(last) + host));
const [SERVER, ADMINISTRATOR] = [endOf(1), endOf(2)];
const PORT = 8443;
const NAMESPACE = `latchkey-${process.pid}`;
/** An interface has 15 characters at most. */
const [HERE, THERE] = [`lkh${process.pid}`, `lkt${process.pid}`];

const ip = (...args: readonly string[]): boolean => spawnSync('ip', args, { stdio: 'ignore' }).status === 0;
const inNamespace = (...line: readonly string[]): readonly string[] => ['ip', 'netns', 'exec', NAMESPACE, ...line];

/** Another machine on a cable to this one; `false` if this machine has none to give. */
function connect(): boolean {
  const isMade =
    process.getuid?.() === 0 &&
    ip('netns', 'add', NAMESPACE) &&
    ip('link', 'add', HERE, 'type', 'veth', 'peer', 'name', THERE, 'netns', NAMESPACE) &&
    ip('address', 'add', `${SERVER}/30`, 'dev', HERE) &&
    ip('link', 'set', HERE, 'up') &&
    ip('-n', NAMESPACE, 'address', 'add', `${ADMINISTRATOR}/30`, 'dev', THERE) &&
    ip('-n', NAMESPACE, 'link', 'set', THERE, 'up') &&
    // Each command there hides the disk of the server by mounts of its own.
    spawnSync('ip', ['netns', 'exec', NAMESPACE, 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' }).status === 0;
  if (!isMade) disconnect();
  return isMade;
}

/** The other end of the cable goes with the namespace. */
function disconnect(): void {
  ip('link', 'delete', HERE);
  ip('netns', 'delete', NAMESPACE);
}

function certify(cert: string, key: string): void {
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'];
  const name = ['-subj', '/CN=plant', '-addext', `subjectAltName=IP:${SERVER}`];
  const made = spawnSync('openssl', [...request, ...name, '-keyout', key, '-out', cert], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
}

/** Its key, as OPERATIONS says. */
function pinOf(cert: string): string {
  const pipe = `openssl x509 -in ${cert} -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`;
  return `sha256:${spawnSync('sh', ['-c', pipe], { encoding: 'utf8' }).stdout.trim()}`;
}

const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0;

it('lists, orders, disables and reads the audit log (needs root, ip netns and openssl)', async (context) => {
  if (!HAS_OPENSSL || !connect()) return context.skip('it takes root, openssl, and the right to make network namespaces');
  context.onTestFinished(disconnect);
  const network = await TestNetwork.create();
  context.onTestFinished(() => network.remove());
  await network.addController(CONTROLLER, '192.0.2.1:5683', [await freePort()]);
  const [cert, key] = [network.path('tls.crt'), network.path('tls.key')];
  certify(cert, key);
  const [socket, remote] = [network.path('local.sock'), network.path('remote.sock')];
  const gateway = `{listen: ["${SERVER}:${PORT}"], cert: ${cert}, key: ${key}, hosts: ["${SERVER}:${PORT}"]}`;
  const text = `api: {socket: ${socket}, remote: {socket: ${remote}}, gateway: ${gateway}}\n`;
  const config = await network.file('api.yaml', text);
  const { recipient, identity } = await generateRecipient();
  const scopes = ['read', 'audit', 'nodes', 'orders', 'keys'].flatMap((scope) => ['--scope', scope]);
  const limits = ['--recipient', recipient, '--from', ADMINISTRATOR];
  const token = network.path('ada.token');
  await network.run('auth-server', ['token', 'create', 'ada', '--data', network.registry, ...scopes, ...limits, '--out', token]);

  const api = network.start('auth-server', ['api', '--data', network.registry, '--config', config]);
  const front = network.start('auth-server', ['api-gateway', '--config', config]);
  await Promise.all([
    api.waitFor(({ msg }) => msg === 'serving the API to callers with tokens'),
    front.waitFor(({ msg }) => msg === 'serving the API over TLS'),
  ]);

  const home = network.path('administrator');
  await mkdir(home, { mode: 0o700 });
  /** Hides the registry and the sockets: another machine does not have them. */
  const away = 'mount -t tmpfs none "$REGISTRY"; mount --bind /dev/null "$SOCKET"; mount --bind /dev/null "$REMOTE"; exec "$@"';
  const administrator = async (...args: readonly string[]): Promise<CommandResult> => {
    const line = inNamespace('sh', '-euc', away, 'sh', process.execPath, ...commandLine('auth-server', args));
    const env = {
      PATH: process.env['PATH'],
      HOME: home,
      XDG_CONFIG_HOME: home,
      REGISTRY: network.registry,
      SOCKET: socket,
      REMOTE: remote,
    };
    const child = spawn(line[0] ?? '', line.slice(1), { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (part: Buffer) => output[name].push(part));
    const [code] = (await once(child, 'close')) as [number | null];
    const [stdout, stderr] = [Buffer.concat(output.stdout), Buffer.concat(output.stderr)];
    recordOutput('process', Buffer.concat([stdout, stderr]));
    return { code, stdout: String(stdout), stderr: String(stderr) };
  };
  const must = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await administrator(...args);
    expect([code, stderr]).toEqual([0, '']);
    return stdout;
  };
  const url = `https://${SERVER}:${PORT}`;
  expect(await administrator('node', 'list', '--data', network.registry)).toMatchObject({ code: 2, stdout: '' });
  const unknown = ['--server', url, '--token-file', token];
  expect(await administrator('node', 'list', ...unknown)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('of no authority that this machine knows'),
  });
  await must('context', 'add', 'plant', '--server', url, '--token-file', token, '--ca-file', cert);

  await must(
    'order',
    'create',
    '--installer',
    'Bo',
    '--controller',
    CONTROLLER,
    '--count',
    '3',
    '--recipient',
    recipient,
    '--out',
    'bo',
  );
  const sealed = await readFile(network.path('administrator', 'bo', 'manifest.csv.age'));
  const opened = await decryptManifest(sealed, 'manifest.csv.age', { identities: [identity] });
  const lines = parseManifest(Buffer.from(opened).toString(), 'manifest.csv');
  const ids = lines.map(({ idI }) => formatId(idI));
  const listed = JSON.parse(await must('node', 'list', '--json')) as { readonly id: string; readonly state: string }[];
  expect(listed.map(({ id, state }) => [id, state])).toEqual(ids.toSorted().map((id) => [id, 'enrolled']));
  // The key in the file is the registry's.
  const registry = await network.openRegistry();
  for (const { idI, ik } of lines) expect((await registry.node(idI))?.key.equals(ik)).toBe(true);
  await registry.close();

  const [disabled = ''] = ids;
  await must('node', 'disable', disabled, '--server', url, '--token-file', token, '--pin', pinOf(cert));
  expect(await showNode(network, disabled)).toMatchObject({ state: 'disabled' });
  const audit = await must('audit', 'list');
  expect(audit).toMatch(new RegExp(`node disabled .*${disabled}`));
  expect(audit).toMatch(/order created/);
  const entries = JSON.parse(await must('audit', 'list', '--json')) as { readonly what: string; readonly actor: string }[];
  const byToken = entries.filter(({ actor }) => actor.startsWith('token ada of ')).map(({ what }) => what);
  expect(byToken).toEqual(expect.arrayContaining(['order created', 'node disabled']));
  // The same token is nobody from anywhere else, this machine included.
  const here = await network.try('auth-server', ['node', 'list', ...unknown, '--ca-file', cert]);
  expect([here.code, here.stdout]).toEqual([1, '']);
  const secret = (await readFile(token, 'utf8')).trim().slice(11, -6);
  expect(network.transcripts()).not.toContain(secret);
});
