import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { readBody } from '../request-input.js';

/** @throws Problem that names each mistake */
export function bodyOf<T extends z.ZodObject>(schema: T, { body }: FastifyRequest): z.output<T> {
  return readBody(schema, {}, body) as z.output<T>;
}
