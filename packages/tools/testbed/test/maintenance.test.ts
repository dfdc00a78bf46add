// What keeps a registry well over the years, through the real commands, while it serves: other
// keys, the audit log, backups; and all of it with the registry in the controller.

import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { Secret } from '@latchkey/protocol';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { AdminClient, expectNoKey, readKeyFrom } from './admin-client.js';
import { applicationKeys, CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

/**
 * Joins again and again until it is told to stop, or the test has ended. Fails if one join does not
 * get its key.
 */
class Joining {
  joins = 0;
  #going = true;
  readonly #done: Promise<void>;

  constructor(admin: AdminClient, id: string) {
    this.#done = this.#join(admin, id);
    onTestFinished(() => this.stop());
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
  }

  async #join(admin: AdminClient, id: string): Promise<void> {
    do {
      const { network } = admin;
      const { code, stderr } = await admin.runOther('node-agent', ['join', '--state', network.node(id)]);
      if (code !== 0) throw new Error(`node ${id} did not join: ${stderr}`);
      this.joins += 1;
    } while (this.#going);
  }
}

describe('with an auth-server of its own', () => {
  let running: RunningNetwork;
  let admin: AdminClient;
  let id: string;
  const keys: Secret[] = [];
  /** What was said of a rotation, and what should have been. */
  let rotated: [string, string] | undefined;
  beforeAll(async () => {
    running = await startNetwork();
    admin = new AdminClient(running.network);
    ({ id } = await orderAndInstall(running.network));
    await running.network.run('node-agent', ['join', '--state', running.network.node(id)]);
  });
  afterAll(() => running.network.remove());

  it('a controller gets another SK_cs, twice, and no join fails', async () => {
    const { network, controller } = running;
    const [credential, state] = [network.credential(CONTROLLER), network.path('next.json')];
    onTestFinished(() => rm(state, { force: true }));
    const usedKey = async (): Promise<unknown> => (await admin.json('controller', 'show', CONTROLLER))['used_key'];
    const joining = new Joining(admin, id);
    for (let i = 0; i < 2; i++) {
      const before = await readKeyFrom(credential);
      // What a server saw it writes within a second or so.
      await expect.poll(usedKey).toBe(before.fingerprint);
      const said = await admin.run('controller', 'rotate', CONTROLLER, '--out', state);
      expect(said).toContain('SIGHUP');
      const next = await readKeyFrom(state);
      keys.push(before, next);
      expect(await admin.json('controller', 'show', CONTROLLER)).toMatchObject({
        key: before.fingerprint,
        staged_key: next.fingerprint,
        used_key: before.fingerprint,
      });
      const shown = await admin.run('controller', 'show', CONTROLLER);
      expect(shown).toMatch(new RegExp(`SK_cs used +\\[secret ${before.fingerprint}\\], for \\d+ requests? since 2`));
      expect(shown).toContain(`[secret ${next.fingerprint}], not used yet. Put the credential with it`);
      await rename(state, credential);
      process.kill(controller.pid, 'SIGHUP');
      await controller.waitFor(({ msg, key }) => msg === 'credential read anew' && key === next.fingerprint);
      await running.authServer.waitFor(({ msg, key }) => /the old one is erased/.test(msg) && key === next.fingerprint);
      await expect
        .poll(() => admin.json('controller', 'show', CONTROLLER), { timeout: 60_000 })
        .toMatchObject({ key: next.fingerprint, staged_key: null, used_key: next.fingerprint });
    }
    await joining.stop();
    expect(joining.joins).toBeGreaterThan(1);
    expect(await admin.expectRejected(1, 'controller', 'rotate', '00000009', '--out', state)).toContain('not in the registry');
    expect(await admin.expectRejected(2, 'controller', 'rotate', CONTROLLER, '--out', credential)).toContain('exists already');
    expect(await admin.json('controller', 'show', CONTROLLER)).toMatchObject({ staged_key: null });
  });

  it('a credential that is not the controller’s own, or none, changes nothing on SIGHUP', async () => {
    const { network, controller } = running;
    const credential = network.credential(CONTROLLER);
    const good = await readFile(credential, 'utf8');
    const lines = controller.lines.length;
    await writeFile(credential, good.replace(CONTROLLER, '00000009'));
    process.kill(controller.pid, 'SIGHUP');
    await controller.waitFor(({ level, msg }) => level === 'error' && msg.includes('is the credential of controller 00000009'));
    await writeFile(credential, '{');
    process.kill(controller.pid, 'SIGHUP');
    await controller.waitFor(({ level, msg }) => level === 'error' && msg.includes('not JSON'));
    await writeFile(credential, good);
    expect(await admin.join(id)).toBe(0);
    expect(controller.lines.length).toBeGreaterThan(lines);
  });

  it('both get another master key while they serve, and no join fails', async () => {
    const { network } = running;
    const state = network.path(`controller-${CONTROLLER}`);
    const files = [network.path('auth-server', 'master.key'), `${state}/master.key`];
    const before = await Promise.all(files.map(readKeyFrom));
    await admin.run('backup', network.path('before.lkb'));
    const joining = new Joining(admin, id);
    const [said, controllers] = await Promise.all([
      admin.run('master-key', 'rotate'),
      admin.runOther('controller', ['master-key', 'rotate', '--state', state]),
    ]);
    await joining.stop();
    const after = await Promise.all(files.map(readKeyFrom));
    keys.push(...before, ...after);
    const kept = [said, controllers.stdout].map((text) => /which is in (\S+): keep it/.exec(text)?.[1] ?? '');
    rotated = [
      said,
      `The keys of 1 node are sealed under the master key [secret ${after[0]!.fingerprint}]\n` +
        `Backups made before need the one before, which is in ${kept[0]!}: keep it as long as them, and destroy it with them.\n`,
    ];
    expect(controllers).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`[secret ${after[1]!.fingerprint}]`) as string,
    });
    for (const [i, path] of kept.entries()) {
      expect((await readKeyFrom(path)).equals(before[i]!)).toBe(true);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
    }
    for (const [i, key] of after.entries()) expect(key.equals(before[i]!)).toBe(false);
    for (const path of files) expect((await stat(path)).mode & 0o777).toBe(0o600);

    const [ofNode, ofController] = await applicationKeys(network, id, network.node(id));
    expect(ofNode).toBe(ofController);
    const old = await network.file('old.key', `${before[0]!.toHex()}\n`);
    expect(await admin.expectRejected(2, 'node', 'list', '--master-key-file', old)).toContain(
      'are not sealed under the master key',
    );
    expect(
      await admin.expectRejected(2, 'node', 'list', '--master-key-command', `cat ${network.path('nowhere')}`).catch(String),
    ).toBeTruthy();
    expect(await admin.run('node', 'list', '--master-key-command', `cat ${files[0]!}`)).toContain(id);
  });

  it('a backup made before opens under the master key that was kept', async () => {
    const { network } = running;
    const restore = ['restore', network.path('before.lkb'), '--data', network.path('restored')];
    const at = ['--master-key-file', network.path('auth-server', 'master.key')];
    const refused = await admin.runOther('auth-server', [...restore, ...at]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('FILE.before-TIME') as string });
    const former = /which is in (\S+): keep it/.exec(rotated?.[0] ?? '')?.[1] ?? '';
    const { code, stdout } = await admin.runOther('auth-server', [...restore, '--master-key-file', former]);
    expect([code, stdout]).toEqual([0, expect.stringContaining(`[secret ${(await readKeyFrom(former)).fingerprint}]`)]);
  });

  it('the fingerprint of the new master key is told', () => {
    const [said, wanted] = rotated ?? [];
    expect(said).toBe(wanted);
  });

  it('the audit log is listed, followed, exported, verified and pruned', async () => {
    const { network } = running;
    const follow = network.start('auth-server', ['audit', 'follow', '--data', network.registry]);
    const exported = await admin.try('audit', 'export');
    const entries = exported.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { seq: number; what: string; actor: string });
    const head = /^HEAD (\d+:[0-9a-f]{64})\n$/.exec(exported.stderr)?.[1] ?? '';
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, i) => i + 1));
    for (const what of [
      'registry created',
      'controller added',
      'order created',
      'node joined',
      'controller key activated',
      'master key rotated',
    ])
      expect(entries.map((entry) => entry.what)).toContain(what);
    const who = new Set(entries.map((entry) => entry.actor));
    expect([...who].toSorted()).toEqual(['auth-server', expect.stringMatching(/^user \S+$/)]);

    // It follows from when it has opened the registry: something has to be written until it says
    // so.
    let days = 1;
    const changes = async (): Promise<number> => {
      days += 1;
      await admin.run('node', 'set', id, '--grace', `${days}d`);
      return follow.lines.length;
    };
    await expect.poll(changes).toBeGreaterThan(0);
    expect(follow.lines[0]).toMatchObject({
      what: 'node lifetime changed',
      node: id,
      note: expect.stringMatching(/^grace \d+d$/) as string,
    });
    expect([await follow.stop('SIGINT'), follow.unparsedOutput]).toEqual([0, '']);

    expect(await admin.run('audit', 'verify', '--against', head)).toMatch(/^The log holds\. HEAD /);
    expect(await admin.json('audit', 'verify')).toMatchObject({ valid: true, problems: [] });
    expect(await admin.expectRejected(1, 'audit', 'verify', '--against', `2${head.slice(head.indexOf(':'))}`)).toContain(
      'does not hold',
    );
    expect(await admin.expectRejected(2, 'audit', 'verify', '--against', 'HEAD')).toContain('SEQ:HASH');
    const table = await admin.run('audit', 'list', '--node', id, '--limit', '2');
    expect(table.trimEnd().split('\n')).toHaveLength(3);

    const kept = network.path('kept.jsonl');
    expect(await admin.expectRejected(2, 'audit', 'prune', '--up-to', '3', '--out', kept)).toContain('Say --yes');
    await admin.run('audit', 'prune', '--up-to', '3', '--out', kept, '--yes');
    expect(await readFile(kept, 'utf8')).toBe(exported.stdout.split('\n').slice(0, 3).join('\n').concat('\n'));
    expect(await admin.run('audit', 'verify', '--against', head)).toMatch(/^The log holds\. HEAD /);
    expect((await admin.json<{ seq: number }[]>('audit', 'list', '--from', '1', '--limit', '1'))[0]?.seq).toBe(4);
    expect(await admin.expectRejected(1, 'audit', 'prune', '--up-to', '3', '--out', kept, '--yes')).toContain(
      'there is no entry 3',
    );
    expect(await admin.join(id)).toBe(0);
  });

  it('is put into a file while it serves, and a registry that is older than its nodes is told apart', async () => {
    const { network, serverAddress } = running;
    const file = network.path('registry.lkb');
    expect(await admin.run('backup', file)).toMatch(
      /sealed under its master key, which is not in it; audit HEAD \d+:[0-9a-f]{64}\n$/,
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await admin.expectRejected(2, 'backup', file)).toContain('exists already');
    expect(await admin.join(id)).toBe(0);
    expect(await admin.expectRejected(1, 'restore', file, '--replace', '--yes')).toContain('in use by latchkey-auth-server run');

    await running.authServer.stop();
    expect(await admin.expectRejected(2, 'restore', file)).toContain('holds a registry already');
    expect(await admin.expectRejected(2, 'restore', file, '--replace')).toContain('Say --yes');
    const since = performance.now();
    expect(await admin.run('restore', file, '--replace', '--yes')).toContain('with 1 node.');
    running = { ...running, authServer: await network.startAuthServer(serverAddress) };
    // For 35 s nobody gets a key; after that this node's key is not the registry's.
    await admin.expectHeldOff(id, since);
    const whyAfterJoin = async (): Promise<string> => {
      await admin.join(id);
      return admin.why(id);
    };
    await expect.poll(whyAfterJoin, { timeout: 600_000, interval: 2_000 }).toBe('restored');
    expect(await admin.run('audit', 'verify')).toContain('The log holds');
  }, 900_000);

  it('has told no key to anybody, in all of this', async () => {
    expectNoKey(admin.output + running.network.transcripts(), keys);
    expect(running.network.transcripts()).not.toMatch(/^\s+at .*:\d+:\d+/m);
  });
});

describe('with the registry in the controller', () => {
  let network: TestNetwork;
  let admin: AdminClient;
  let controller: DaemonProcess;
  beforeAll(async () => {
    network = await TestNetwork.create();
    admin = new AdminClient(network);
    const address = await freePort();
    await network.addController(CONTROLLER, address, []);
    const config = await network.file('combined.yaml', `mode: combined\nregistry: ${network.registry}\n`);
    controller = await network.startController(CONTROLLER, address, '--config', config);
  });
  afterAll(() => network.remove());

  it('the commands show and change at once what the controller goes by', async () => {
    const { id } = await orderAndInstall(network);
    await admin.run('order', 'suspend', '1');
    expect([await admin.join(id), await admin.why(id)]).toEqual([1, 'outside-join-window']);
    await admin.run('order', 'open', '1');
    expect(await admin.join(id)).toBe(0);
    await admin.run('node', 'disable', id);
    expect(await admin.join(id)).toBe(1);
    await admin.run('node', 'enable', id);

    const [before, next, credential] = [
      await readKeyFrom(network.credential(CONTROLLER)),
      network.path('next.json'),
      network.credential(CONTROLLER),
    ];
    await Promise.all([
      admin.run('master-key', 'rotate'),
      admin.runOther('controller', ['master-key', 'rotate', '--state', network.path(`controller-${CONTROLLER}`)]),
    ]);
    await admin.run('controller', 'rotate', CONTROLLER, '--out', next);
    await rename(next, credential);
    process.kill(controller.pid, 'SIGHUP');
    await controller.waitFor(({ msg }) => msg === 'credential read anew');
    expect(await admin.join(id)).toBe(0);
    const now = await readKeyFrom(credential);
    expect(await admin.json('controller', 'show', CONTROLLER)).toMatchObject({ key: now.fingerprint, staged_key: null });

    const life = await admin.json<{ life: { what: string; actor: string }[] }>('node', 'show', id);
    expect(
      life.life.filter(({ what }) => what.startsWith('node ')).map(({ what, actor }) => [what, actor.split(' ')[0]]),
    ).toEqual([
      ['node joined', 'controller'],
      ['node disabled', 'user'],
      ['node enabled', 'user'],
      ['node renewed', 'controller'],
    ]);
    expect(await admin.run('audit', 'verify')).toContain('The log holds');
    expectNoKey(admin.output + network.transcripts(), [before, now]);
    expect(await controller.stop()).toBe(0);
  });
});
