/** Nodes with their keys, in a file for recipients. */

import { call, type ExportedLine, nodesCount, nodesExportWithKeys } from '@latchkey/operations';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { Problem } from '../problem.js';
import { defineRoute, type Route } from '../route.js';
import { jobSchema } from './jobs.js';
import { recipientsSchema, startKeyJob } from './key-job.js';

/** Nodes in a file: it is in memory, and a line has 600 octets and more. */
const MAX_NODES = 20_000;

const create = defineRoute({
  method: 'POST',
  name: nodesExportWithKeys.name,
  summary: 'Hand over nodes with their keys',
  description: `JSON Lines, as the command \`export --with-keys\` writes them, of ${MAX_NODES} nodes at most, in the file of the job.`,
  scope: nodesExportWithKeys.scope,
  path: '/v1/node-exports',
  input: z.strictObject({
    filter: nodesExportWithKeys.input.describe('As of a list of nodes; {} for all'),
    recipients: recipientsSchema,
  }),
  output: jobSchema,
  isIdempotent: () => true,
  async run(context, { recipients, filter }) {
    const { nodes } = await call(nodesCount, operationContext(context), filter);
    if (nodes > MAX_NODES)
      throw new Problem('refused', {
        detail: `${nodes} nodes pass the filters, and a file has ${MAX_NODES} at most.`,
        advice: 'Name fewer with a filter, or export them on the machine:',
        run: ['latchkey-auth-server export --with-keys --out ./nodes.jsonl'],
      });
    const job = { kind: nodesExportWithKeys.name, recipients, file: { name: 'nodes.jsonl.age' } };
    return startKeyJob(context, job, async ({ context: jobContext, begin, handOverText }) => {
      const id = await begin(1);
      const lines: string[] = [];
      const write = async (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => {
        for await (const page of pages) for (const [node, key] of page) lines.push(lineOf({ ...node, secret_key: key?.toHex() }));
      };
      const done = await call(nodesExportWithKeys, { ...jobContext, write }, filter);
      await handOverText(id, lines.join(''));
      return done;
    });
  },
});

function lineOf(node: object): string {
  return `${JSON.stringify(node)}\n`;
}

export const nodeExportRoutes: readonly Route[] = [create];
