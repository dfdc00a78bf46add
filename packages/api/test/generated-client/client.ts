// What a caller writes who has only packages/api/openapi.json: `schema.d.ts` is made from it by
// openapi-typescript. openapi.test.ts makes that file, checks the types here, and runs this.

import createClient, { type Client } from 'openapi-fetch';
import type { components, operations, paths } from './schema.js';

type Node = components['schemas']['Node'];
type NodeChanges = operations['nodes.change-many']['requestBody']['content']['application/json'];

export class Administrator {
  readonly #client: Client<paths>;

  constructor(baseUrl: string, token: string, fetch: (request: Request) => Promise<Response>) {
    this.#client = createClient<paths>({ baseUrl, fetch, headers: { authorization: `Bearer ${token}` } });
  }

  /** All nodes in one of these states, page by page. */
  async nodes(state: Node['state'][], limit: number): Promise<Node[]> {
    const nodes: Node[] = [];
    let after: string | undefined;
    do {
      const query = { state, limit, ...(after === undefined ? {} : { after }) };
      const { data, error } = await this.#client.GET('/v1/nodes', { params: { query } });
      if (error !== undefined) throw new Error(error.title);
      nodes.push(...data.items);
      after = data.next ?? undefined;
    } while (after !== undefined);
    return nodes;
  }

  /** Disables a node as it was seen; gives the problem if it has changed since. */
  async disable(id: string): Promise<string | undefined> {
    const { response } = await this.#client.GET('/v1/nodes/{id}', { params: { path: { id } } });
    const seen = { 'If-Match': response.headers.get('etag') ?? '' };
    const change = { params: { path: { id }, header: seen }, body: { disabled: true } };
    const first = await this.#client.PATCH('/v1/nodes/{id}', change);
    if (first.error !== undefined) throw new Error(first.error.title);
    const second = await this.#client.PATCH('/v1/nodes/{id}', change);
    return second.error?.type;
  }

  /** Disables all nodes of an order: a preview, then a job, which it waits for. */
  async disableOrder(order: number): Promise<components['schemas']['Job']> {
    const change: NodeChanges = { select: { order }, change: { kind: 'disable' } };
    const preview = await this.#client.POST('/v1/node-changes', { body: { ...change, dry_run: true } });
    if (preview.data === undefined || !('expect' in preview.data)) throw new Error(preview.error?.title);
    const params = { header: { 'Idempotency-Key': crypto.randomUUID() } };
    const { expect } = preview.data;
    const begun = await this.#client.POST('/v1/node-changes', { params, body: { ...change, expect } });
    if (begun.data === undefined || !('id' in begun.data)) throw new Error(begun.error?.title);
    let job = begun.data;
    while (job.state === 'running') {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const { data, error } = await this.#client.GET('/v1/jobs/{job}', { params: { path: { job: job.id } } });
      if (error !== undefined) throw new Error(error.title);
      job = data;
    }
    return job;
  }

  /** What the generated types refuse: each line fails the check of types unless it is refused. */
  async mistakes(): Promise<void> {
    // @ts-expect-error no such path
    await this.#client.GET('/v1/node');
    // @ts-expect-error no such state
    await this.#client.GET('/v1/nodes', { params: { query: { state: ['lost'] } } });
    // @ts-expect-error a change needs If-Match
    await this.#client.PATCH('/v1/nodes/{id}', { params: { path: { id: '00000001' } }, body: { disabled: true } });
    // @ts-expect-error no such filter
    await this.#client.POST('/v1/node-changes', { body: { select: { orders: [1] }, change: { kind: 'disable' } } });
    const { data } = await this.#client.GET('/v1/summary');
    // @ts-expect-error an answer has no key
    return data?.nodes.key;
  }
}
