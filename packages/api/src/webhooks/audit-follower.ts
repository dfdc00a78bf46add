/** Reads the audit log through the API, from where a webhook is on. */

import { request } from 'node:http';
import type { AuditEntryView } from '@latchkey/operations/contract';
import { z } from 'zod';

const PAGE = 500;
const MAX_ANSWER = 4 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

/**
 * Contains no key, no fingerprint and no text of people. Fields that are not named here are not
 * sent.
 */
export type WebhookEvent = Pick<AuditEntryView, 'seq' | 'at' | 'what' | 'node' | 'controller' | 'order' | 'count'>;

const entrySchema: z.ZodType<WebhookEvent> = z.object({
  seq: z.int(),
  at: z.string(),
  what: z.string(),
  node: z.string().optional(),
  controller: z.string().optional(),
  order: z.int().optional(),
  count: z.int().optional(),
});
const pageSchema = z.object({ items: z.array(entrySchema), next: z.string().nullable() });

/**
 * The last entry that a webhook has got, and when it was written: a restored log has another one.
 */
export interface Cursor {
  readonly seq: number;
  readonly at: string | null;
}

export const cursorSchema: z.ZodType<Cursor> = z.strictObject({ seq: z.int().min(0), at: z.string().nullable() });

export class AuditFollower {
  readonly #socketPath: string;
  readonly #token: string;

  /** @param socketPath of the API, for callers with tokens */
  constructor(socketPath: string, token: string) {
    this.#socketPath = socketPath;
    this.#token = token;
  }

  /** The end of the log. */
  async head(): Promise<Cursor> {
    const {
      items: [last],
    } = await this.#page('limit=1');
    return last === undefined ? { seq: 0, at: null } : cursorOf(last);
  }

  /**
   * Entries after the cursor, oldest first. If the log was restored, those from its restore on.
   */
  async after(cursor: Cursor): Promise<readonly WebhookEvent[]> {
    if (cursor.at === null) return this.#from(1);
    const [first, ...others] = await this.#from(cursor.seq);
    if (first?.seq === cursor.seq && first.at === cursor.at) return others;
    // The entry was taken out of the log.
    if (first !== undefined && first.seq > cursor.seq) return [first, ...others];
    return this.#from(await this.#restoredSeq());
  }

  async #from(seq: number): Promise<readonly WebhookEvent[]> {
    return (await this.#page(`ascending=true&from=${seq}&limit=${PAGE}`)).items;
  }

  /** Number of the entry of the last restore. */
  async #restoredSeq(): Promise<number> {
    for (let after: string | null = ''; after !== null;) {
      const query = `what=registry%20restored&limit=1${after === '' ? '' : `&after=${after}`}`;
      const { items, next }: z.output<typeof pageSchema> = await this.#page(query);
      if (items[0] !== undefined) return items[0].seq;
      after = next;
    }
    return 1;
  }

  async #page(query: string): Promise<z.output<typeof pageSchema>> {
    const text = await this.#get(`/v1/audit?${query}`);
    return pageSchema.parse(JSON.parse(text));
  }

  #get(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const sent = request({
        socketPath: this.#socketPath,
        path,
        headers: { host: 'api', authorization: `Bearer ${this.#token}` },
        agent: false,
        timeout: TIMEOUT_MS,
      });
      sent.on('timeout', () => sent.destroy(new Error('the API does not answer')));
      sent.on('error', reject);
      sent.on('response', (response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          length += part.length;
          if (length > MAX_ANSWER) response.destroy(new Error('the answer of the API is too long'));
          else parts.push(part);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(parts).toString('utf8'));
          else reject(new Error(`the API answers ${response.statusCode}; it takes a token of the scope audit`));
        });
      });
      sent.end();
    });
  }
}

export function cursorOf({ seq, at }: WebhookEvent): Cursor {
  return { seq, at };
}
