import { describeIssue, errorMap } from '@latchkey/runtime/config';
import type { z } from 'zod';
import { Problem } from '../problem.js';

/** @throws Problem that names each mistake by its field, never by its value */
export function readBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body, { error: errorMap });
  if (result.success) return result.data;
  throw new Problem('bad-request', {
    errors: result.error.issues.map((issue) => ({
      at: issue.path.map(String).join('.') || 'body',
      is: issue.code === 'unrecognized_keys' ? 'expected no other field' : describeIssue({ ...issue, path: [] }),
    })),
  });
}
