/** Answers of routes that are more than a value. */

import type { ServerResponse } from 'node:http';

/** The answer of a route that has begun a job. */
export class Accepted<T> {
  /** URL of the job. */
  readonly location: string;
  readonly body: T;

  constructor(location: string, body: T) {
    this.location = location;
    this.body = body;
  }
}

/** An answer that is not one JSON value: a file, lines, or events until the caller leaves. */
export interface RawAnswer {
  readonly headers: Readonly<Record<string, string>>;
  /** Sends what follows the headers. While a promise of it is pending, the registry stays open. */
  readonly start: (response: ServerResponse) => void | Promise<void>;
}
