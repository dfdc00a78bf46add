/**
 * What a target has given out, on the disk. It is compared with the keys of now at each start and
 * after each change, so that a crash loses neither a reload nor a revocation.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { UsageFailure } from '@latchkey/runtime/failure';
import { exists, readPrivateFile, replaceFile } from '@latchkey/runtime/files';
import * as z from 'zod/mini';

/** Room for the IDs of more nodes than a snapshot may have. */
const MAX_OCTETS = 16 * 1024 * 1024;

const schema = z.strictObject({
  version: z.literal(1),
  file: z.string(),
  /** SHA-256 of the contents with which the program that reads the files was last reloaded. */
  reloaded: z.nullable(z.string()),
  /** IDs of nodes whose keys are in the files, or were and are not revoked yet. */
  nodes: z.array(z.string().check(z.regex(/^[0-9a-f]{8}$/))),
});

export class Journal {
  readonly #path: string;
  readonly #file: string;
  #reloaded: string | undefined;
  #nodes: Set<string>;
  /** The change that is made last. */
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, file: string, reloaded: string | undefined, nodes: Iterable<string>) {
    this.#path = path;
    this.#file = file;
    this.#reloaded = reloaded;
    this.#nodes = new Set(nodes);
  }

  /**
   * @param folder private to this process
   * @param file the target's
   */
  static async open(folder: string, file: string): Promise<Journal> {
    const name = createHash('sha256').update(file).digest('hex').slice(0, 16);
    const path = join(folder, `delivered-${name}.json`);
    if (!(await exists(path))) return new Journal(path, file, undefined, []);
    const parsed = z.safeParse(schema, parseJson(await readPrivateFile(path, MAX_OCTETS)));
    if (!parsed.success || parsed.data.file !== file) {
      throw new UsageFailure(`${path} is not the journal of ${file}`, {
        advice:
          'Something else changed it. Restore it, or remove it: then nodes that were revoked while this did not run are not told to on_revoke.',
      });
    }
    return new Journal(path, file, parsed.data.reloaded ?? undefined, parsed.data.nodes);
  }

  /** Returns which target a journal belongs to, or `undefined` if it cannot be read. */
  static async fileOf(path: string): Promise<string | undefined> {
    const text = await readPrivateFile(path, MAX_OCTETS).catch(() => '');
    const parsed = z.safeParse(schema, parseJson(text));
    return parsed.success ? parsed.data.file : undefined;
  }

  get reloaded(): string | undefined {
    return this.#reloaded;
  }

  get nodes(): ReadonlySet<string> {
    return this.#nodes;
  }

  /** Durable before the keys of these nodes are written to the files. */
  add(nodes: ReadonlySet<string>): Promise<void> {
    return this.#inTurn(async () => {
      if ([...nodes].every((id) => this.#nodes.has(id))) return;
      await this.#save(this.#reloaded, new Set([...this.#nodes, ...nodes]));
    });
  }

  /** Durable after their revocation was notified. */
  remove(nodes: ReadonlySet<string>): Promise<void> {
    return this.#inTurn(async () => {
      const left = [...this.#nodes].filter((id) => !nodes.has(id));
      if (left.length < this.#nodes.size) await this.#save(this.#reloaded, new Set(left));
    });
  }

  /** @param digest `undefined` if the program must be reloaded in any case */
  setReloaded(digest: string | undefined): Promise<void> {
    return this.#inTurn(async () => {
      if (digest !== this.#reloaded) await this.#save(digest, this.#nodes);
    });
  }

  /**
   * Each change begins with the result of the one before, because files and `on_revoke` run
   * concurrently.
   */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #save(reloaded: string | undefined, nodes: Set<string>): Promise<void> {
    const json: z.input<typeof schema> = {
      version: 1,
      file: this.#file,
      reloaded: reloaded ?? null,
      nodes: [...nodes].toSorted(),
    };
    await replaceFile(this.#path, `${JSON.stringify(json)}\n`);
    this.#reloaded = reloaded;
    this.#nodes = nodes;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
