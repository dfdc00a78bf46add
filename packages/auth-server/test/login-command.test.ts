// `login` against a real gateway: a person confirms in the console, and the command has a token.

import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { startApi } from '@latchkey/api';
import { startGateway } from '@latchkey/api/gateway';
import { addUser, openUserStore, Passwords } from '@latchkey/api/users';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import { commandToRun } from '@latchkey/runtime/cli';
import type { Daemon } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { type Certified, certify, HAS_OPENSSL, issue } from '@latchkey/test-support/certificate';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { type Command, CommanderError } from 'commander';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { authServerProgram } from '../src/program.js';

process.umask(0o077);

/** An address of this process only: the port is in the list of hosts before it is bound. */
const ADDRESS = `127.${(process.pid >> 16) & 0xff}.${(process.pid >> 8) & 0xff}.${process.pid & 0xff || 1}`;
const HOST = `${ADDRESS}:18444`;
const ORIGIN = `https://${HOST}`;
const PASSWORD = 'correct horse battery';
/** A thousandth of the cost of real passwords. */
const CHEAP = { N: 32, r: 8, p: 1 };
/** A busy machine is not a failure. */
const TIMEOUT_MS = 180_000;
const CODE = /[A-Z]{4}-[A-Z]{4}/;

/** What a command came to. */
interface Outcome {
  readonly exitCode: number;
  readonly message?: string;
  readonly advice?: string | undefined;
  readonly run?: readonly string[];
}

/** A command while it runs. */
interface Running {
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Outcome>;
}

class Plant {
  readonly fixture: AdminFixture;
  readonly home: string;
  readonly ca: string;
  readonly #sockets: string;
  readonly #pem: string;
  /** With a certificate for a client. */
  readonly authority: Certified | undefined;
  /** Of the person's browser. */
  clientCertificate: { readonly cert: string; readonly key: string } | undefined;
  #api: Daemon | undefined;

  private constructor(fixture: AdminFixture, home: string, sockets: string, ca: string, pem: string, authority?: Certified) {
    this.fixture = fixture;
    this.home = home;
    this.ca = ca;
    this.#sockets = sockets;
    this.#pem = pem;
    this.authority = authority;
  }

  /** @param asksForCertificates whether clients need one of `authority` */
  static async start(servesBrowsers: boolean = true, asksForCertificates: boolean = false): Promise<Plant> {
    const [fixture, folder, home] = [await AdminFixture.open(), await tempFolder(), await tempFolder()];
    const { cert, key, pem } = await certify(folder, 'plant', ADDRESS);
    const authority = asksForCertificates ? await certify(folder, 'clients') : undefined;
    const plant = new Plant(fixture, home, folder, cert, pem, authority);
    await plant.startApi(servesBrowsers);
    const gateway = await startGateway({
      config: {
        listen: [{ host: ADDRESS, port: Number(new URL(ORIGIN).port) }],
        cert,
        key,
        client_ca: authority?.cert,
        hosts: [HOST],
      },
      apiSocket: join(folder, 'remote.sock'),
      ...(servesBrowsers && { browser: { socket: join(folder, 'browser.sock'), origin: ORIGIN } }),
      log: new CapturedLog().log,
    });
    onTestFinished(async () => {
      await gateway.stop();
      await plant.stopApi();
    });
    return plant;
  }

  async startApi(servesBrowsers: boolean = true): Promise<void> {
    const { folder } = this.fixture.registry;
    this.#api = await startApi({
      config: {
        socket: join(this.#sockets, 'api.sock'),
        local: {},
        remote: { socket: join(this.#sockets, 'remote.sock') },
        ...(servesBrowsers && { browser: { listen: [], socket: join(this.#sockets, 'browser.sock'), origin: ORIGIN } }),
      },
      folder,
      registry: { open: () => Registry.open(folder, Secret.from(MASTER), 'api') },
      log: new CapturedLog().log,
      passwords: new Passwords(CHEAP),
    });
  }

  async stopApi(): Promise<void> {
    await this.#api?.stop();
    this.#api = undefined;
  }

  /** A person in a browser who has just signed in, with a way to post. */
  async person(name: string): Promise<(path: string, body: object) => Promise<number>> {
    const { registry } = this.fixture;
    const users = await openUserStore(registry.folder);
    const record = (event: Parameters<Registry['record']>[0]): Promise<void> => registry.record(event);
    const administration = { users, record, actor: 'user root', registryRestoredAt: null, origin: ORIGIN };
    const { url } = await addUser(administration, name, 'operator');
    await users.close();
    const signedIn = await this.#post('/v1/login/link', { token: url.split('#link=')[1], password: PASSWORD }, {});
    const session = { cookie: signedIn.cookie, 'x-latchkey-session': String(signedIn.body['secret']) };
    return async (path, body) => (await this.#post(`/v1/login/command/${path}`, body, session)).status;
  }

  #post(
    path: string,
    body: object,
    more: Record<string, string>,
  ): Promise<{ readonly status: number; readonly cookie: string; readonly body: Record<string, unknown> }> {
    const headers = { host: HOST, origin: ORIGIN, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json', ...more };
    const target = { host: ADDRESS, port: new URL(ORIGIN).port, ca: this.#pem, agent: false, ...this.clientCertificate };
    return new Promise((resolve, reject) => {
      const sent = request({ ...target, method: 'POST', path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          const [cookie = ''] = response.headers['set-cookie']?.[0]?.split(';') ?? [];
          resolve({
            status: response.statusCode ?? 0,
            cookie,
            body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
          });
        });
      });
      sent.on('error', reject);
      sent.end(JSON.stringify(body));
    });
  }

  /** Begins a command. */
  start(line: string): Running {
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      vi.spyOn(process[name], 'write').mockImplementation((piece) => {
        output[name] += String(piece);
        return true;
      });
    vi.stubEnv('XDG_CONFIG_HOME', this.home);
    onTestFinished(() => {
      vi.unstubAllEnvs();
      vi.restoreAllMocks();
    });
    return { stdout: () => output.stdout, stderr: () => output.stderr, ended: outcomeOf(line.split(' ')) };
  }

  async run(line: string): Promise<Outcome & { readonly stdout: string }> {
    const running = this.start(line);
    return { ...(await running.ended), stdout: running.stdout() };
  }

  /** Begins a login, and waits for its code. */
  async login(more: string = ''): Promise<Running & { readonly code: string }> {
    const running = this.start(`login --context plant${more}`);
    await vi.waitUntil(() => CODE.test(running.stderr()), { timeout: TIMEOUT_MS });
    return { ...running, code: CODE.exec(running.stderr())?.[0] ?? '' };
  }

  get tokenFile(): string {
    return join(this.home, 'latchkey', 'plant.token');
  }
}

function exitOverride(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.commands.forEach(exitOverride);
}

async function outcomeOf(words: readonly string[]): Promise<Outcome> {
  const program = await authServerProgram(words[0]);
  exitOverride(program);
  let called: Command | undefined;
  program.hook('preAction', (_, action) => void (called = action));
  try {
    await program.parseAsync(words, { from: 'user' });
    return { exitCode: 0 };
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: 2, message: error.message };
    if (!(error instanceof Failure)) throw error;
    const { message, advice, run, exitCode } = error;
    return { exitCode, message, advice, run: run.map((line) => commandToRun(line, called)) };
  }
}

describe.skipIf(!HAS_OPENSSL)('login (needs openssl)', () => {
  it('gets a token for the context, which commands then use, and another one in its place', async () => {
    const plant = await Plant.start();
    const added = await plant.run(`context add plant --server ${ORIGIN} --ca-file ${plant.ca}`);
    expect(added.stdout).toContain('It has no token yet. Sign in:\n  latchkey-auth-server login --context plant\n');
    expect(await plant.run('order list')).toMatchObject({
      exitCode: 2,
      message: `the token for ${ORIGIN} is missing`,
      run: ['  latchkey-auth-server login --context plant'],
    });

    const post = await plant.person('ada');
    const first = await plant.login(' --scope read --expires 1h');
    expect(first.stderr()).toContain(`Open ${ORIGIN}/code in a browser`);
    expect(await post('find', { code: first.code })).toBe(200);
    expect(await post('confirm', { code: first.code, scopes: ['read'] })).toBe(204);
    expect(await first.ended).toEqual({ exitCode: 0 });
    expect(first.stdout()).toContain(`Signed in at plant, ${ORIGIN}, as ada: read.\n`);
    const token = await readFile(plant.tokenFile, 'utf8');
    expect([(await stat(plant.tokenFile)).mode & 0o777, token]).toEqual([0o600, expect.stringMatching(/^lk_[a-z2-7]{66}\n$/)]);
    for (const text of [first.stdout(), first.stderr(), await readFile(join(plant.home, 'latchkey', 'contexts.json'), 'utf8')])
      expect(text).not.toContain(token.slice(11, -7));
    // Nothing else is left there.
    expect(
      (await readdir(join(plant.home, 'latchkey'))).filter((name) => !name.startsWith('.') && name !== 'lock').toSorted(),
    ).toEqual(['contexts.json', 'plant.token']);
    expect(await plant.run('order list --json')).toMatchObject({ exitCode: 0, stdout: '[]\n' });
    expect(await plant.run('node disable 00000001 --yes')).toMatchObject({ exitCode: 1 });

    const second = await plant.login(' --json');
    await post('find', { code: second.code });
    await post('confirm', { code: second.code, scopes: ['read', 'nodes'] });
    expect(await second.ended).toEqual({ exitCode: 0 });
    expect(JSON.parse(second.stdout())).toEqual({
      context: 'plant',
      server: ORIGIN,
      user: 'ada',
      token_id: expect.stringMatching(/^[a-z2-7]{8}$/),
      scopes: ['read', 'nodes'],
      expires_at: expect.any(String),
      token_file: plant.tokenFile,
    });
    expect(await readFile(plant.tokenFile, 'utf8')).not.toBe(token);
    expect(await plant.run('order list --json')).toMatchObject({ exitCode: 0, stdout: '[]\n' });
  });

  it('changes nothing where it is refused, interrupted, or forgotten by an API that was restarted', async () => {
    const plant = await Plant.start();
    await plant.run(`context add plant --server ${ORIGIN} --ca-file ${plant.ca}`);
    const contexts = await readFile(join(plant.home, 'latchkey', 'contexts.json'), 'utf8');
    const post = await plant.person('ada');
    const refused = await plant.login();
    await post('find', { code: refused.code });
    expect(await post('refuse', { code: refused.code })).toBe(204);
    expect(await refused.ended).toMatchObject({
      exitCode: 1,
      message: `${ORIGIN}: the sign-in of this command was refused in the console`,
    });

    const before = new Set(process.listeners('SIGINT'));
    const interrupted = await plant.login();
    for (const listener of process.listeners('SIGINT')) if (!before.has(listener)) listener('SIGINT');
    expect(await interrupted.ended).toMatchObject({
      exitCode: 1,
      message: 'interrupted before anybody confirmed the code',
      advice: 'Nothing was changed. The code is of no use now.',
    });
    expect(await post('find', { code: interrupted.code })).toBe(404);

    const forgotten = await plant.login();
    await plant.stopApi();
    await expect.poll(forgotten.stderr).toContain('Asking again.');
    await plant.startApi();
    expect(await forgotten.ended).toMatchObject({ exitCode: 1, message: `${ORIGIN} has forgotten the sign-in of this command` });
    expect(forgotten.stderr().split('Asking again.').length).toBe(2);

    expect(await readFile(join(plant.home, 'latchkey', 'contexts.json'), 'utf8')).toBe(contexts);
    expect(await stat(plant.tokenFile).catch(() => undefined)).toBeUndefined();
    expect(plant.fixture.entriesAfter(0).map(({ what }) => what)).not.toContain('token created');
  });

  it('asks before it replaces a token that it has not made', async () => {
    const plant = await Plant.start();
    const path = join(plant.home, 'tokens', 'ci.token');
    await mkdir(dirname(path));
    await writeFile(path, `lk_${'a'.repeat(66)}\n`);
    await plant.run(`context add plant --server ${ORIGIN} --ca-file ${plant.ca} --token-file ${path}`);
    expect(await plant.run('login --context plant')).toMatchObject({
      exitCode: 2,
      message: `${path} has a token that may be in no other place. Replace it?`,
    });
    const post = await plant.person('ada');
    const running = await plant.login(' --yes');
    await post('find', { code: running.code });
    await post('confirm', { code: running.code, scopes: ['read'] });
    expect(await running.ended).toEqual({ exitCode: 0 });
    expect(await plant.run('order list --json')).toMatchObject({ exitCode: 0, stdout: '[]\n' });
    await rm(dirname(path), { recursive: true });
    expect(await plant.run('login --context plant --yes')).toMatchObject({
      exitCode: 2,
      message: `the folder of ${path}, which the context plant names, does not exist`,
    });
  });

  it('shows a certificate to a gateway that asks for one, as every command of the context does', async () => {
    const plant = await Plant.start(true, true);
    const folder = await tempFolder();
    const { authority } = plant;
    if (authority === undefined) throw new Error('the plant has no authority');
    const [own, other] = [await issue(folder, 'laptop', authority, 'clientAuth'), await issue(folder, 'other', authority)];
    const add = `context add plant --server ${ORIGIN} --ca-file ${plant.ca}`;
    const refused = async (more: string, says: string): Promise<void> =>
      expect(await plant.run(`${add} ${more}`)).toMatchObject({ exitCode: 2, message: expect.stringContaining(says) as string });
    await refused(`--client-cert ${own.cert}`, '--client-key is missing');
    await refused(`--client-key ${own.key}`, '--client-cert is missing');
    await refused(`--client-cert ${own.cert} --client-key ${other.key}`, 'are not a certificate and its key in PEM');
    await refused(`--client-cert ${own.key} --client-key ${own.key}`, 'laptop.key: expected a certificate in PEM');
    await chmod(own.key, 0o644);
    await refused(`--client-cert ${own.cert} --client-key ${own.key}`, 'laptop.key');
    await chmod(own.key, 0o600);
    const mine = `--client-cert ${own.cert} --client-key ${own.key}`;
    expect(await plant.run(`${add} ${mine}`)).toMatchObject({ exitCode: 0 });
    expect(JSON.parse((await plant.run('context list --json')).stdout)).toMatchObject([
      { name: 'plant', client_cert: own.cert, client_key: own.key },
    ]);

    plant.clientCertificate = { cert: own.pem, key: await readFile(own.key, 'utf8') };
    const post = await plant.person('ada');
    const running = await plant.login();
    await post('find', { code: running.code });
    await post('confirm', { code: running.code, scopes: ['read'] });
    expect(await running.ended).toEqual({ exitCode: 0 });
    expect(await plant.run('order list --json')).toMatchObject({ exitCode: 0, stdout: '[]\n' });

    const elsewhere = `order list --server ${ORIGIN} --ca-file ${plant.ca} --token-file ${plant.tokenFile}`;
    expect(await plant.run(`${elsewhere} ${mine}`)).toMatchObject({ exitCode: 0 });
    for (const more of ['', ` --client-cert ${other.cert} --client-key ${other.key}`])
      expect(await plant.run(`${elsewhere}${more}`)).toMatchObject({
        exitCode: 1,
        message: expect.stringMatching(/(?:does not take the certificate of this client|has closed the connection)/) as string,
        advice: expect.stringContaining('--client-cert and --client-key') as string,
      });
    expect(await plant.run(`order list --data ./x ${mine}`)).toMatchObject({
      exitCode: 2,
      message: '--client-cert is of a registry elsewhere, and that of this machine is named',
    });
  });

  it('says where nobody can confirm it', async () => {
    const plant = await Plant.start(false);
    await plant.run(`context add plant --server ${ORIGIN} --ca-file ${plant.ca}`);
    expect(await plant.run('login')).toMatchObject({ exitCode: 1, message: `${ORIGIN} signs in no commands` });
    await plant.run('context add here --server unix:/run/api.sock');
    expect(await plant.run('login --context here')).toMatchObject({
      exitCode: 2,
      message: 'the context here needs no login: the kernel says who connects to unix:/run/api.sock',
    });
    expect(await plant.run('login --context other')).toMatchObject({ exitCode: 1, message: 'there is no context other' });
    await plant.run('context use');
    expect(await plant.run('login')).toMatchObject({ exitCode: 2, message: 'no context is in use' });
    for (const [option, says] of [
      ['--scope keys', 'expected one of read, audit'],
      ['--expires 13h', 'from 1m to 12h'],
    ] as const)
      expect(await plant.run(`login ${option}`)).toMatchObject({ exitCode: 2, message: expect.stringContaining(says) as string });
  });
});
