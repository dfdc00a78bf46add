/** Answers of routes that are more than a value. */

import type { ServerResponse } from 'node:http';

/** The answer of a route that has begun a job. */
export class Accepted<T> {
  /** Where the job is. */
  readonly location: string;
  readonly body: T;

  constructor(location: string, body: T) {
    this.location = location;
    this.body = body;
  }
}

/** An answer that goes on until its caller leaves. */
export interface LiveAnswer {
  readonly contentType: string;
  readonly start: (response: ServerResponse) => void;
}
