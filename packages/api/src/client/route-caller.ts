/** Calls routes of an API by name: pages, jobs and files included. */

import { setTimeout as pause } from 'node:timers/promises';
import type { Progress } from '@latchkey/operations';
import { JOB_FIELDS, type JobView } from '@latchkey/operations/contract';
import type { AgeKeyPair } from '@latchkey/provisioning';
import { Failure } from '@latchkey/runtime/failure';
import { z } from 'zod';
import type { Route } from '../route.js';
import { ROUTES } from '../routes.js';
import { VERSION_HEADER } from '../version-header.js';
import { answerFailure, printable, problemFailure, readJson } from './answer-failure.js';
import type { ApiAnswer, ApiConnection, ApiRequest } from './connection.js';
import { requestOf, type RouteInput } from './route-request.js';
import { ifUnfinished, withAdvice } from './unfinished.js';

const ACCEPTED = 202;
/** Poll interval of a job, in ms: first, and at most. */
const MIN_POLL_MS = 50;
const MAX_POLL_MS = 2_000;
/** Items of a page: as many as the API gives. */
export const PAGE = 1_000;

interface Job extends Pick<JobView, 'id' | 'state' | 'done' | 'total' | 'result' | 'problem'> {
  readonly audit_from?: number | null | undefined;
}

/** Further fields are ignored, and an older server lacks some. */
const jobSchema: z.ZodType<Job> = z.object({
  id: JOB_FIELDS.id,
  state: JOB_FIELDS.state,
  done: JOB_FIELDS.done,
  total: JOB_FIELDS.total,
  result: JOB_FIELDS.result,
  problem: JOB_FIELDS.problem,
  audit_from: JOB_FIELDS.audit_from.optional(),
});

export interface Page {
  readonly items: readonly unknown[];
  readonly next: string | null;
}

/** Further fields are ignored: a newer server may have some. */
const pageSchema: z.ZodType<Page> = z.object({ items: z.array(z.unknown()), next: z.string().nullable() });

export class RouteCaller {
  readonly #connection: ApiConnection;
  readonly #ownVersion: string;
  /** Opens files with keys; without it, one is made for each file. */
  readonly keyPair: AgeKeyPair | undefined;

  constructor(connection: ApiConnection, ownVersion: string, keyPair: AgeKeyPair | undefined) {
    this.#connection = connection;
    this.#ownVersion = ownVersion;
    this.keyPair = keyPair;
  }

  /** Returns the answer of the route. If the route begins a job, returns the job's result. */
  async fetch(name: string, input: RouteInput, progress?: Progress): Promise<unknown> {
    const route = routeNamed(name);
    const answer = await this.#send(route, input);
    const body = readJson(answer, this.#connection.name);
    if (answer.status !== ACCEPTED) return body;
    return (await this.#wait(jobSchema.parse(body), route, progress)).result;
  }

  /** Begins a job whose file holds keys, and returns it once it has ended. */
  async runJob(name: string, input: RouteInput, progress?: Progress): Promise<Job> {
    const route = routeNamed(name);
    return this.#wait(jobSchema.parse(readJson(await this.#send(route, input), this.#connection.name)), route, progress);
  }

  async fetchFile(job: string): Promise<Uint8Array> {
    const route = routeNamed('jobs.fetch-file');
    return (await this.#sendRequest({ ...requestOf(route, { job }), isRepeatable: true }, route)).octets;
  }

  async page(name: string, input: RouteInput): Promise<Page> {
    return pageSchema.parse(await this.fetch(name, input));
  }

  /** The items of a list, page by page as they are asked for. */
  async *pages(name: string, input: RouteInput): AsyncGenerator<readonly unknown[]> {
    for (let after: string | null | undefined; after !== null;) {
      const page: Page = await this.page(name, { ...input, limit: PAGE, after });
      yield page.items;
      after = page.next;
    }
  }

  /** Returns every item of a list. */
  async all(name: string, input: RouteInput): Promise<unknown[]> {
    const items: unknown[] = [];
    for await (const page of this.pages(name, input)) items.push(...page);
    return items;
  }

  #send(route: Route, input: RouteInput): Promise<ApiAnswer> {
    return this.#sendRequest(requestOf(route, input), route);
  }

  async #sendRequest(request: ApiRequest, route: Route): Promise<ApiAnswer> {
    const answer = await this.#connection.send(request);
    if (answer.status < 400) return answer;
    const version = answer.headers[VERSION_HEADER];
    const versions = { server: typeof version === 'string' ? printable(version) : undefined, own: this.#ownVersion };
    const failure = answerFailure(answer, route, this.#connection.name, versions);
    // A gateway answers so too if it has waited too long for the API.
    if (answer.status < 500 || failure.advice !== undefined || request.ifUnanswered === undefined) throw failure;
    throw withAdvice(failure, request.ifUnanswered);
  }

  async #wait(begun: Job, route: Route, progress?: Progress): Promise<Job> {
    let job = begun;
    const follow = async (report: (done: number) => void): Promise<void> => {
      for (let wait = MIN_POLL_MS; job.state === 'running'; wait = Math.min(2 * wait, MAX_POLL_MS)) {
        await pause(wait);
        job = jobSchema.parse(await this.#look(job, route));
        report(job.done);
      }
    };
    await (progress === undefined ? follow(() => undefined) : progress('working', begun.total, follow));
    if (job.state === 'done') return job;
    if (job.problem === null)
      throw new Failure(
        `${this.#connection.name}: job ${job.id} was ${job.state} after ${job.done} of ${job.total}`,
        ifUnfinished(route, { id: job.id, auditFrom: job.audit_from }),
      );
    const failure = problemFailure(job.problem, route, this.#connection.name);
    // The message of the operation is complete, unless the server itself failed.
    throw job.problem.status < 500 || failure.advice !== undefined
      ? failure
      : withAdvice(failure, ifUnfinished(route, { id: job.id, auditFrom: job.audit_from }));
  }

  async #look(job: Job, route: Route): Promise<unknown> {
    try {
      return await this.fetch('jobs.show', { job: job.id });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `${reason}; job ${job.id}, which was running there, may go on`;
      throw withAdvice(error, ifUnfinished(route, job), message);
    }
  }
}

export function routeNamed(name: string): Route {
  const route = ROUTES.find((one) => one.name === name);
  if (route === undefined) throw new RangeError(`the API has no route ${name}`);
  return route;
}

export function hasRoute(name: string): boolean {
  return ROUTES.some((route) => route.name === name);
}
