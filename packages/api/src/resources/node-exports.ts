/** Nodes with their keys, in a file for recipients. */

import { call, type ExportedLine, nodesCount, nodesExportWithKeys } from '@latchkey/operations';
import type { NodeExport } from '@latchkey/operations/contract';
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
    requireRoom(nodes);
    const job = { kind: nodesExportWithKeys.name, recipients, file: { name: 'nodes.jsonl.age' } };
    return startKeyJob(context, job, async ({ context: jobContext, begin, handOverText }) => {
      const id = await begin(1);
      let lines: readonly string[] = [];
      const write = async (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => void (lines = await linesOf(pages));
      // Nodes may have come while the job waited for its turn.
      const approve = async ({ count }: NodeExport): Promise<void> => requireRoom(count);
      const done = await call(nodesExportWithKeys, { ...jobContext, write, approve }, filter);
      await handOverText(id, lines.join(''));
      return done;
    });
  },
});

function requireRoom(nodes: number): void {
  if (nodes > MAX_NODES) throw tooMany(`${nodes}`, MAX_NODES);
}

function tooMany(nodes: string, most: number): Problem {
  return new Problem('refused', {
    detail: `${nodes} nodes pass the filters, and a file has ${most} at most.`,
    advice: 'Name fewer with a filter, or export them on the machine:',
    run: ['latchkey-auth-server export --with-keys --out ./nodes.jsonl'],
  });
}

/** Nodes may come while they are written, too. */
export async function linesOf(pages: AsyncIterable<readonly ExportedLine[]>, most: number = MAX_NODES): Promise<string[]> {
  const lines: string[] = [];
  for await (const page of pages) {
    if (lines.length + page.length > most) throw tooMany(`More than ${most}`, most);
    for (const [node, key] of page) lines.push(lineOf({ ...node, secret_key: key?.toHex() }));
  }
  return lines;
}

function lineOf(node: object): string {
  return `${JSON.stringify(node)}\n`;
}

export const nodeExportRoutes: readonly Route[] = [create];
