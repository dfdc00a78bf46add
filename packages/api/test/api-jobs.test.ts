// Changes of many nodes: a preview, then a job; and requests that are sent twice.

import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Clocks, Secret } from '@latchkey/protocol';
import { InDoubt, Registry } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { PartlyDone, setDisabled } from '@latchkey/operations';
import { AdminFixture, C1, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Principal, scopesOf } from '../src/access.js';
import { problemFailure } from '../src/client/answer-failure.js';
import { IdempotentRequests } from '../src/jobs/idempotency.js';
import type { JobView } from '@latchkey/operations/contract';
import { openJobStore } from '../src/jobs/index.js';
import { Jobs, type JobControl } from '../src/jobs/jobs.js';
import { type JobRecord, RequestStore } from '../src/jobs/request-store.js';
import { Problem } from '../src/problem.js';
import { operationContext } from '../src/operation-context.js';
import { ReopenedRegistry } from '../src/registry-access.js';
import { RegistryWalks } from '../src/registry-walks.js';
import type { RouteContext } from '../src/route.js';
import { type Answer, createToken, LocalApi } from './local-api.js';

const UID = `uid ${process.getuid?.() ?? 0}`;
const DEADLINE_MS = 120_000;
const PATH = '/v1/node-changes';
const ids = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const keys = (wanted: readonly number[]): Record<number, Secret> => Object.fromEntries(wanted.map((id) => [id, newSecret()]));

async function start(): Promise<{ readonly fixture: AdminFixture; readonly api: LocalApi }> {
  const fixture = await AdminFixture.open();
  await fixture.order(keys(ids(1, 30)), { idC: C1 });
  return { fixture, api: await LocalApi.start(fixture.registry.folder) };
}

const disableAll = { select: { order: 1 }, change: { kind: 'disable' } };

async function preview(api: LocalApi, body: object = disableAll): Promise<Record<string, unknown>> {
  const { status, body: shown } = await api.change('POST', PATH, { ...body, dry_run: true });
  expect(status).toBe(200);
  return shown;
}

function apply(api: LocalApi, expected: unknown, key: string, body: object = disableAll): Promise<Answer> {
  return api.change('POST', PATH, { ...body, expect: expected }, { 'idempotency-key': key });
}

async function ended(api: LocalApi, location: string | undefined): Promise<JobView> {
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(20)) {
    const { body } = await api.get(String(location));
    if (body.state !== 'running') return body as JobView;
  }
  throw new Error('the job does not end');
}

describe('a change of many nodes', () => {
  it('is shown first, changes nothing until then, and is then made by a job in the caller’s name', async () => {
    const { fixture, api } = await start();
    await setDisabled(fixture.registry, [3, 4], true);
    const head = fixture.headSeq;
    const shown = await preview(api);
    expect(shown).toMatchObject({ count: 30, already_so: 2, expect: expect.any(String) });
    expect((shown['examples'] as string[]).slice(0, 2)).toEqual(['00000001', '00000002']);
    expect((shown['examples'] as string[]).length).toBe(20);
    expect(fixture.headSeq).toBe(head);
    const accepted = await apply(api, shown['expect'], 'change-1');
    expect([accepted.status, accepted.headers.location]).toEqual([202, `/v1/jobs/${accepted.body.id}`]);
    const job = await ended(api, accepted.headers.location);
    expect(job).toMatchObject({ state: 'done', done: 30, total: 30, result: { changed: 28, unchanged: 2 }, problem: null });
    const entries = fixture.entriesAfter(head);
    expect(entries.length).toBe(28);
    expect(new Set(entries.map(({ what, actor }) => `${what} by ${actor}`))).toEqual(new Set([`node disabled by ${UID}`]));
    expect((await api.get('/v1/jobs')).body.items).toMatchObject([{ id: job.id }]);
    expect((await api.change('DELETE', `/v1/jobs/${job.id}`)).status).toBe(200);
    expect((await api.get(`/v1/jobs/${job.id}`)).status).toBe(404);
  });

  it('is refused with a new preview if other nodes are selected by then', async () => {
    const { fixture, api } = await start();
    const select = { select: { controller: '00000001' }, change: { kind: 'move', to: '00000002' } };
    const shown = await preview(api, select);
    await fixture.order(keys([0x100]), { idC: C1 });
    const head = fixture.headSeq;
    const stale = await apply(api, shown['expect'], 'change-1', select);
    expect([stale.status, stale.body.type]).toEqual([409, 'urn:latchkey:problem:selection-changed']);
    expect(stale.body.preview).toMatchObject({ count: 31, already_so: 0 });
    expect(fixture.headSeq).toBe(head);
    // The key was of a request that did nothing.
    const accepted = await apply(api, stale.body.preview.expect, 'change-1', select);
    expect(await ended(api, accepted.headers.location)).toMatchObject({ state: 'done', result: { changed: 31 } });
    expect(await preview(api, { ...select, select: { controller: '00000002' } })).toMatchObject({ count: 31, already_so: 31 });
  });

  it('is wrong without nodes, a change or either of preview and expect; unknown things are not found', async () => {
    const { api } = await start();
    for (const [status, body] of [
      [400, { select: { order: 1 }, dry_run: true }],
      [400, { change: { kind: 'disable' }, dry_run: true }],
      [400, { ...disableAll }],
      [400, { ...disableAll, dry_run: true, expect: 'x' }],
      [400, { ...disableAll, change: { kind: 'melt' }, dry_run: true }],
      [400, { ...disableAll, change: { kind: 'disable', to: '00000001' }, dry_run: true }],
      [400, { ...disableAll, change: { kind: 'set' }, dry_run: true }],
      [400, { ...disableAll, select: {}, dry_run: true }],
      [404, { ...disableAll, select: { order: 77 }, dry_run: true }],
      [404, { ...disableAll, select: { ids: ['0000dead'] }, dry_run: true }],
      [404, { ...disableAll, change: { kind: 'move', to: '0000dead' }, dry_run: true }],
    ] as const)
      expect([body, (await api.change('POST', PATH, body)).status]).toEqual([body, status]);
  });

  it('gives nodes to another controller only for a caller who may hand keys out', async () => {
    const { fixture, api } = await start();
    const { text } = await createToken(fixture.registry.folder, { scopes: ['nodes', 'controllers'] });
    const post = async (change: object): Promise<number> => {
      const body = JSON.stringify({ select: { order: 1 }, change, dry_run: true });
      return (await api.remote(PATH, text, { 'content-type': 'application/json' }, { method: 'POST', body })).status;
    };
    expect([await post({ kind: 'move', to: '00000002' }), await post({ kind: 'disable' })]).toEqual([403, 200]);
  });
});

describe('a request with an Idempotency-Key', () => {
  it('happens once and is answered the same again; another request may not have its key', async () => {
    const { fixture, api } = await start();
    const { expect: expected } = await preview(api);
    const before = fixture.headSeq;
    const first = await apply(api, expected, 'change-1');
    await ended(api, first.headers.location);
    const again = await apply(api, expected, 'change-1');
    expect([again.status, again.text, again.headers.location]).toEqual([202, first.text, first.headers.location]);
    expect((await api.get('/v1/jobs')).body.items.length).toBe(1);
    expect(fixture.entriesAfter(before).length).toBe(30);
    const other = await apply(api, expected, 'change-1', { ...disableAll, select: { controller: '00000001' } });
    expect([other.status, other.body.type]).toEqual([422, 'urn:latchkey:problem:idempotency-key-reused']);
    for (const key of ['', 'short', 'with space', 'x'.repeat(129)]) expect((await apply(api, expected, key)).status).toBe(400);
    const missing = await api.change('POST', PATH, { ...disableAll, expect: expected });
    expect(missing.body.type).toBe('urn:latchkey:problem:idempotency-key-required');
  });

  it('takes no room for the key if it changes nothing', async () => {
    const { api } = await start();
    for (const [path, body] of [
      ['/v1/diagnoses', { filter: {} }],
      ['/v1/audit/verifications', {}],
    ] as const) {
      const without = await api.change('POST', path, body);
      expect([path, without.status]).toEqual([path, 202]);
      await ended(api, without.headers.location);
      // Were the key remembered, the second request would be answered as the first one.
      const first = await api.change('POST', path, body, { 'idempotency-key': 'walk-key-1' });
      await ended(api, first.headers.location);
      const second = await api.change('POST', path, body, { 'idempotency-key': 'walk-key-1' });
      expect([second.status, second.body.id === first.body.id]).toEqual([202, false]);
      await ended(api, second.headers.location);
    }
  });

  it('has a key of its caller only, and so has its job', async () => {
    const { fixture, api } = await start();
    const { text } = await createToken(fixture.registry.folder, { scopes: ['nodes'], name: 'ci', createdBy: 'user ada' });
    const post = (body: object): Promise<Answer> =>
      api.remote(
        PATH,
        text,
        { 'content-type': 'application/json', 'idempotency-key': 'change-1' },
        { method: 'POST', body: JSON.stringify(body) },
      );
    const own = (await post({ ...disableAll, dry_run: true })).body.expect as string;
    const { expect: local } = await preview(api);
    expect(own).not.toBe(local);
    const first = await apply(api, local, 'change-1');
    await ended(api, first.headers.location);
    const second = await post({ ...disableAll, expect: local });
    expect(second.status).toBe(409);
    const third = await post({ ...disableAll, expect: second.body.preview.expect });
    expect(third.status).toBe(202);
    expect((await api.get(String(third.headers.location))).status).toBe(404);
    expect((await api.remote(String(first.headers.location), text)).status).toBe(404);
    expect((await api.change('DELETE', String(third.headers.location))).status).toBe(404);
  });

  it('of a process that ended in the middle is not done again, and not taken for done', async () => {
    const { fixture, api } = await start();
    const store = await RequestStore.open(fixture.registry.folder);
    const body = { ...disableAll, expect: 'x' };
    const request = createHash('sha256')
      .update(JSON.stringify(['POST', PATH, JSON.stringify(body)]))
      .digest();
    await store.beginAnswer(UID, 'change-1', { request, at: Date.now(), registryRestoredAt: null, answer: null });
    await store.close();
    const answer = await apply(api, 'x', 'change-1');
    expect([answer.status, answer.body.type]).toEqual([409, 'urn:latchkey:problem:outcome-unknown']);
  });

  it('is done when it is sent again after a failure at work, unless it may have been done', async () => {
    const store = await RequestStore.open(await tempFolder());
    onTestFinished(() => store.close());
    const requests = new IdempotentRequests(store);
    const answer = { status: 202, location: '/v1/jobs/x', body: '{}' };
    const send = (key: string, action: () => Promise<typeof answer>): Promise<unknown> =>
      requests.run(
        { principal: { id: 'uid 1', scopes: new Set() }, key, parts: [], now: 1_000, registryRestoredAt: null },
        action,
      );
    // The reason of the signal of a request whose caller has gone.
    const given = AbortSignal.abort().reason as Error;
    for (const [key, error] of [
      ['request-0', given],
      ['request-1', new Failure('the database is away')],
    ] as const) {
      await expect(send(key, () => Promise.reject(error))).rejects.toBe(error);
      expect(await send(key, () => Promise.resolve(answer))).toEqual(answer);
    }
    for (const error of [new InDoubt('it is not known'), new TypeError('a fault')]) {
      await expect(send('request-2', () => Promise.reject(error))).rejects.toBe(error);
      await expect(send('request-2', () => Promise.resolve(answer))).rejects.toMatchObject({ kind: 'outcome-unknown' });
      await store.forgetAnswer('uid 1', 'request-2');
    }
  });

  it('that may have been done ends a command with 1: the command was not wrong', () => {
    const failure = problemFailure(
      new Problem('outcome-unknown').toJSON(),
      { name: 'orders.create', method: 'POST', scope: 'keys' },
      'https://plant.example',
    );
    expect(failure).toMatchObject({ exitCode: 1, run: [['latchkey-auth-server', 'order', 'list']] });
  });

  it('finds no room beyond the bound of its caller, and room again after a day', async () => {
    const store = await RequestStore.open(await tempFolder());
    onTestFinished(() => store.close());
    const record = { request: new Uint8Array(32), at: 1_000, registryRestoredAt: null, answer: null };
    const begun = await Promise.all(ids(0, 1_024).map((i) => store.beginAnswer('uid 1', `key ${i}`, record)));
    expect(begun.filter((before) => before !== undefined)).toEqual([]);
    expect(await store.beginAnswer('uid 1', 'one more', record)).toBe('full');
    expect(await store.beginAnswer('uid 2', 'key 0', record)).toBeUndefined();
    expect(await store.beginAnswer('uid 1', 'one more', { ...record, at: 1_000 + 86_400_000 })).toBeUndefined();
    expect(await store.beginAnswer('uid 2', 'key 0', { ...record, registryRestoredAt: 7 })).toBeUndefined();
  });
});

describe('a job', () => {
  interface Setup {
    readonly access: ReopenedRegistry;
    readonly fixture: AdminFixture;
    readonly jobs: Jobs;
    readonly store: RequestStore;
    readonly folder: string;
  }

  async function open(): Promise<Setup> {
    const fixture = await AdminFixture.open();
    const { folder } = fixture.registry;
    const access = new ReopenedRegistry(folder, () => Registry.open(folder, Secret.from(MASTER), 'api'));
    const store = await RequestStore.open(folder);
    const jobs = new Jobs(access, new RegistryWalks(), store, new CapturedLog().log);
    onTestFinished(async () => {
      await jobs.close();
      await store.close();
      await access.close();
    });
    return { jobs, store, folder, access, fixture };
  }

  const ada: Principal = { id: 'user ada', scopes: scopesOf('operator') };
  const options = (principal: Principal = ada) => ({ principal, kind: 'test', scopes: ['nodes'] as const });

  /** Work of two parts, the second of which waits for `go`. */
  function twoParts(): { readonly work: (control: JobControl) => Promise<string>; readonly go: () => void } {
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const work = async ({ begin, afterPart }: JobControl): Promise<string> => {
      await begin(2);
      await gate;
      await afterPart(1);
      await afterPart(2);
      return 'done';
    };
    return { work, go };
  }

  async function endOf({ store }: Setup, id: string): Promise<JobRecord | undefined> {
    for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(5))
      if (store.job(id)?.state !== 'running') return store.job(id);
    throw new Error('the job does not end');
  }

  it('is cancelled after the part that is under way', async () => {
    const setup = await open();
    const { work, go } = twoParts();
    const { id } = await setup.jobs.start(options(), work);
    await expect(setup.jobs.remove(ada, id)).rejects.toThrow(`job ${id} is still running`);
    const cancelled = setup.jobs.cancel(ada, id);
    go();
    expect(await cancelled).toMatchObject({ state: 'cancelled', done: 1, total: 2, finished_at: expect.any(String) });
  });

  it('that ends before it is cancelled keeps its result', async () => {
    const setup = await open();
    const { work, go } = twoParts();
    const { id } = await setup.jobs.start(options(), work);
    go();
    await endOf(setup, id);
    await expect(setup.jobs.cancel(ada, id)).rejects.toThrow(`job ${id} has ended already: done`);
    expect(setup.jobs.show(ada, id)).toMatchObject({ state: 'done', result: 'done' });
  });

  it('ends when its owner may do it no longer', async () => {
    const setup = await open();
    let scopes = scopesOf('operator');
    const owner: Principal = { ...ada, recheck: () => Promise.resolve({ ...ada, scopes }) };
    const [first, second] = [twoParts(), twoParts()];
    const allowed = await setup.jobs.start(options(owner), first.work);
    first.go();
    expect(await endOf(setup, allowed.id)).toMatchObject({ state: 'done', result: 'done' });
    const refused = await setup.jobs.start(options(owner), second.work);
    scopes = scopesOf('viewer');
    second.go();
    expect(await endOf(setup, refused.id)).toMatchObject({ state: 'failed', done: 1, problem: { status: 403 } });
  });

  it('does not begin, and gives no result, when its owner may do it no longer', async () => {
    const setup = await open();
    let now: Principal | undefined = ada;
    const owner: Principal = { ...ada, recheck: () => Promise.resolve(now) };
    let changed = 0;
    const work = async ({ begin, requireRights }: JobControl): Promise<string> => {
      await begin(1);
      now = undefined;
      await requireRights();
      changed += 1;
      return 'changed';
    };
    const removed = await setup.jobs.start(options(owner), work);
    expect(await endOf(setup, removed.id)).toMatchObject({ state: 'failed', done: 0, problem: { status: 403 } });
    await expect(setup.jobs.start(options(owner), work)).rejects.toMatchObject({ kind: 'forbidden' });
    expect(changed).toBe(0);
    now = ada;
    const { id } = await setup.jobs.start(options(owner), async ({ begin }) => {
      await begin(1);
      now = { ...ada, limits: { orders: [1] } };
      return 'of all orders';
    });
    expect(await endOf(setup, id)).toMatchObject({ state: 'failed', done: 1, result: null, problem: { status: 403 } });
  });

  it('says how many nodes were done when the rest failed, and leaves the reason to the log', async () => {
    const setup = await open();
    const { id } = await setup.jobs.start(options(), async ({ begin, afterPart }) => {
      await begin(2);
      await afterPart(1);
      throw new PartlyDone('1 of 2 nodes were done', new Error('/var/lib/latchkey is full'), 'Run it again for the rest.');
    });
    expect(await endOf(setup, id)).toMatchObject({
      state: 'failed',
      done: 1,
      problem: {
        status: 503,
        detail: '1 of 2 nodes were done. The log of the API says why.',
        advice: 'Run it again for the rest.',
      },
    });
  });

  it('names the entry of the audit log that says whether a change in doubt was made', async () => {
    const setup = await open();
    const look = ['latchkey-auth-server', 'audit', 'list', '--from', '7', '--limit', '1', '--json'];
    const doubt = new InDoubt('it is not known whether 192.0.2.1 took the change', {
      advice: 'If it did, entry 7 of the audit log has operation ab. Before you try again, look:',
      run: [look],
    });
    const failed = async (principal: Principal, error: Error): Promise<JobView> => {
      const { id } = await setup.jobs.start(options(principal), async ({ begin }) => {
        await begin(2);
        throw error;
      });
      await endOf(setup, id);
      return setup.jobs.show(principal, id);
    };
    expect((await failed(ada, doubt)).problem).toEqual({
      ...new Problem('unavailable').toJSON(),
      detail: 'It is not known whether the registry took the change. The log of the API says why.',
      advice: doubt.advice,
      run: [look.join(' ')],
    });
    expect((await failed(ada, new PartlyDone('1 of 2 nodes were done', doubt, 'Run it again.'))).problem).toMatchObject({
      detail: '1 of 2 nodes were done. It is not known whether the registry took the next part. The log of the API says why.',
      advice: `Run it again. ${doubt.advice}`,
      run: [look.join(' ')],
    });
    // Numbers of entries tell what is done to orders of others.
    const limited = await failed({ ...ada, limits: { orders: [1] } }, doubt);
    expect([JSON.stringify(limited.problem?.run), limited.problem?.advice]).toEqual([
      undefined,
      'Ask an administrator what the audit log has of it.',
    ]);
  });

  it('that hands out keys names the first entry that may be of it, after a kill and otherwise', async () => {
    const { jobs, store, folder, access, fixture } = await open();
    const [number, other] = [await fixture.order(keys([1])), await fixture.order(keys([2]))];
    const record = (actor: string, order: number): Promise<void> =>
      fixture.registry.actingAs(actor).record({ what: 'order exported', order });
    const auditHead = fixture.headSeq;
    const killed = {
      owner: ada.id,
      actor: 'user ada',
      kind: 'orders.export',
      scopes: ['nodes'] as const,
      limits: null,
      state: 'running',
      done: 0,
      total: 1,
      createdAt: 1,
      finishedAt: null,
      result: null,
      problem: null,
      order: number,
      auditHead,
    } as const;
    await store.putJob({ ...killed, id: 'done' });
    await store.putJob({ ...killed, id: 'undone', order: 77 });
    await store.putJob({ ...killed, id: 'limited', limits: { orders: [number] } });
    await store.putJob({ ...killed, id: 'none', kind: 'nodes.change-many' });
    await record('user bo', number);
    await record('user ada', other);
    await record('user ada', number);
    const later = await RequestStore.open(folder);
    onTestFinished(() => later.close());
    const restarted = new Jobs(access, new RegistryWalks(), later, new CapturedLog().log);
    await restarted.lookUpInterrupted();
    const entryOf = (id: string, principal: Principal = ada): unknown => {
      const { state, audit_from: from } = restarted.show(principal, id);
      return [state, from];
    };
    expect(['done', 'undone', 'none'].map((id) => entryOf(id))).toEqual([
      ['interrupted', auditHead + 3],
      ['interrupted', null],
      ['interrupted', null],
    ]);
    expect(entryOf('limited', { ...ada, limits: { orders: [number] } })).toEqual(['interrupted', null]);

    const begun = { principal: ada, kind: 'orders.export', scopes: ['nodes'] as const, about: { order: number } };
    const { id } = await jobs.start(begun, async ({ begin, context }) => {
      await begin(1);
      await context.registry.record({ what: 'order exported', order: number });
      throw new Failure('no space left on the device');
    });
    await endOf({ jobs, store, folder, access, fixture }, id);
    expect(jobs.show(ada, id)).toMatchObject({ state: 'failed', audit_from: auditHead + 4 });
  });

  it('is cancelled by a command on its machine, too', async () => {
    const setup = await open();
    const onTheMachine = await openJobStore(setup.folder);
    onTestFinished(() => onTheMachine.close());
    const { id } = await setup.jobs.start(options(), async ({ begin, afterPart }) => {
      await begin(1_000_000);
      for (let done = 1; ; done++) {
        await afterPart(done);
        await pause(5);
      }
    });
    expect(onTheMachine.show(id)).toMatchObject({ by: 'user ada', state: 'running' });
    expect(await onTheMachine.cancel(id)).toMatchObject({ id, state: 'cancelled' });
    expect(setup.store.job(id)?.state).toBe('cancelled');
  });

  it('that does not end is told so to who cancels it on its machine', async () => {
    const { store, folder, jobs } = await open();
    const { work, go } = twoParts();
    const { id } = await jobs.start(options(), work);
    const onTheMachine = await openJobStore(folder, 300);
    onTestFinished(() => onTheMachine.close());
    await expect(onTheMachine.cancel(id)).rejects.toMatchObject({
      message: `job ${id} has not ended within 0 s`,
      run: [['latchkey-auth-server', 'job', 'show', id]],
    });
    go();
    expect(store.job(id)?.id).toBe(id);
  });

  it('goes by the clock of the registry, as a request does', async () => {
    const { registry } = await AdminFixture.open();
    const { folder } = registry;
    const clock = (): Clocks => ({ wallMs: 5_000, monotonicMs: 7_000 });
    const access = new ReopenedRegistry(folder, () => Registry.open(folder, Secret.from(MASTER), 'api', clock));
    const [walks, store] = [new RegistryWalks(), await RequestStore.open(folder)];
    const jobs = new Jobs(access, walks, store, new CapturedLog().log);
    onTestFinished(async () => {
      await jobs.close();
      await store.close();
      await access.close();
    });
    let ofJob: Clocks | undefined;
    await jobs.start(options(), ({ begin, context }) => {
      ofJob = context.clock();
      return begin(1);
    });
    const ofRequest = await access.use((opened) =>
      operationContext({ registry: opened, principal: ada, walks } as RouteContext).clock(),
    );
    expect([ofJob, ofRequest]).toEqual([clock(), clock()]);
  });

  it('does not exist for an owner with other rights than it was begun with', async () => {
    const setup = await open();
    const installer: Principal = { ...ada, limits: { orders: [1], sites: ['north'] } };
    const begun = async (principal: Principal): Promise<string> => {
      const { id } = await setup.jobs.start(options(principal), async ({ begin }) => begin(1));
      await endOf(setup, id);
      return id;
    };
    const [all, some] = [await begun(ada), await begun(installer)];
    const seenBy = (principal: Principal): unknown[] => setup.jobs.list(principal).map(({ id }) => id);
    expect(seenBy(ada)).toEqual([all]);
    expect(seenBy({ ...ada, limits: { sites: ['north'], orders: [1] } })).toEqual([some]);
    expect(seenBy({ ...ada, limits: { orders: [1, 2], sites: ['north'] } })).toEqual([]);
    const viewer: Principal = { ...ada, scopes: scopesOf('viewer') };
    expect(seenBy(viewer)).toEqual([]);
    expect(() => setup.jobs.show(viewer, all)).toThrow(expect.objectContaining({ kind: 'not-found' }));
    expect(() => setup.jobs.show(installer, all)).toThrow(expect.objectContaining({ kind: 'not-found' }));
    await expect(setup.jobs.remove(installer, all)).rejects.toMatchObject({ kind: 'not-found' });
    expect(setup.jobs.show(ada, all)).toMatchObject({ id: all, state: 'done' });
  });

  it('is interrupted when the API stops, and says how far it was', async () => {
    const setup = await open();
    const { work, go } = twoParts();
    const { id } = await setup.jobs.start(options(), work);
    const closed = setup.jobs.close();
    go();
    await closed;
    expect(setup.store.job(id)).toMatchObject({ state: 'interrupted', done: 1, total: 2 });
    await expect(setup.jobs.start(options(), work)).rejects.toMatchObject({ kind: 'busy' });
  });

  it('that has not begun when the API stops is refused: it may be asked for again', async () => {
    const setup = await open();
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const job = setup.jobs.start(options(), async ({ requireRights }) => {
      await gate;
      await requireRights();
    });
    const closed = setup.jobs.close();
    go();
    await expect(job).rejects.toMatchObject({ kind: 'busy', details: { detail: 'The API is stopping.' } });
    await closed;
    expect(setup.store.jobsOf()).toEqual([]);
  });

  it('of an API that was killed is interrupted at the next start', async () => {
    const { store, folder } = await open();
    const record = {
      owner: 'user ada',
      scopes: [],
      limits: null,
      actor: 'user ada',
      kind: 'test',
      done: 1,
      total: 2,
      createdAt: 1,
      finishedAt: null,
      result: null,
      problem: null,
    };
    await store.putJob({ ...record, id: 'killed', state: 'running' });
    await store.putJob({ ...record, id: 'ended', state: 'done', done: 2 });
    const later = await RequestStore.open(folder);
    onTestFinished(() => later.close());
    expect(later.jobsOf('user ada').map(({ id, state, done }) => [id, state, done])).toEqual(
      expect.arrayContaining([
        ['killed', 'interrupted', 1],
        ['ended', 'done', 2],
      ]),
    );
  });

  it('does not begin beyond the bound of its owner, nor if the work fails before it begins', async () => {
    const setup = await open();
    const { work, go } = twoParts();
    await setup.jobs.start(options(), work);
    await expect(setup.jobs.start(options(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await setup.jobs.start(options(), work);
    await expect(setup.jobs.start(options(), work)).rejects.toMatchObject({ kind: 'busy' });
    await setup.jobs.start(options({ ...ada, id: 'user bo' }), work);
    go();
    expect(setup.jobs.list(ada).length).toBe(2);
  });

  it('is forgotten when its owner has begun 32 others', async () => {
    const { store } = await open();
    const rights = { scopes: [], limits: null } as const;
    const record = {
      ...rights,
      actor: 'user ada',
      kind: 'test',
      state: 'done',
      done: 0,
      total: 0,
      finishedAt: 1,
      result: null,
      problem: null,
    } as const;
    await store.putJob({ ...record, id: 'bo', owner: 'user bo', createdAt: 0 });
    await Promise.all(ids(0, 40).map((i) => store.putJob({ ...record, id: `${i}`, owner: 'user ada', createdAt: i })));
    expect(store.jobsOf('user ada').map(({ id }) => id)).toEqual(ids(8, 32).toReversed().map(String));
    expect(store.jobsOf('user bo').length).toBe(1);
  });
});

describe('walks through all nodes', () => {
  const never = new AbortController().signal;

  it('wait in order, two of one caller’s requests at most, and jobs beyond that', async () => {
    const walks = new RegistryWalks();
    const began: string[] = [];
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const walk = (name: string, caller?: string): Promise<void> =>
      walks.run(
        async () => {
          began.push(name);
          await gate;
        },
        never,
        caller,
      );
    const begun = [walk('a1', 'user ada'), walk('a2', 'user ada'), walk('a3', 'user ada')];
    const refused: unknown = await walk('a4', 'user ada').catch((error: unknown) => error);
    expect((refused as Problem).toJSON()).toMatchObject({ status: 503, advice: expect.any(String) });
    begun.push(walk('job'), walk('b1', 'user bo'));
    expect(began).toEqual(['a1']);
    go();
    await Promise.all(begun);
    expect(began).toEqual(['a1', 'a2', 'a3', 'job', 'b1']);
    await walk('a5', 'user ada');
    expect(began.at(-1)).toBe('a5');
  });

  it('give their place away once their request has ended, and their turn if they fail', async () => {
    const walks = new RegistryWalks();
    let fail = (_: Error): void => undefined;
    const gate = new Promise<void>((_, reject) => (fail = reject));
    const first = walks.run(() => gate, never, 'user ada');
    const gone = [new AbortController(), new AbortController()];
    const left = gone.map(({ signal }) => walks.run(() => Promise.resolve('walked'), signal, 'user ada'));
    for (const controller of gone) controller.abort(new Error('gone'));
    // Their turn has not come.
    for (const walk of left) await expect(walk).rejects.toThrow('gone');
    const next = [1, 2].map((n) => walks.run(() => Promise.resolve(n), never, 'user ada'));
    fail(new Error('no'));
    await expect(first).rejects.toThrow('no');
    expect(await Promise.all(next)).toEqual([1, 2]);
  });
});
