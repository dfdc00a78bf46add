/** Output of `key`: application keys. It loads nothing, because the command must start fast. */

/** The keys of one generation, by label, in hex. */
export interface PrintedGeneration {
  readonly kid: string;
  readonly keys: Readonly<Record<string, string>>;
  /** ISO 8601; `null`: never. */
  readonly not_after: string | null;
  /** Of the application root, on both sides the same. */
  readonly fingerprint: string;
  /** Of a former key: the end of its use. */
  readonly until?: string;
}

export const KEY_FORMATS = ['hex', 'base64', 'json'] as const;
export type KeyFormat = (typeof KEY_FORMATS)[number];

export interface KeyOutputOptions {
  readonly label: readonly string[];
  readonly format: KeyFormat;
  /** The key identifier before each key. JSON has it always. */
  readonly kid?: boolean | undefined;
}

/** Which of the generations, newest first, `--previous` and `--all` mean. */
export function selectGenerations(
  generations: readonly PrintedGeneration[],
  { previous, all }: { readonly previous?: boolean | undefined; readonly all?: boolean | undefined },
): readonly PrintedGeneration[] {
  if (all === true) return generations;
  return previous === true ? generations.slice(1, 2) : generations.slice(0, 1);
}

/**
 * Returns a line for each label of each generation, in the order of both; in JSON a line for each
 * generation.
 */
export function formatKeys(id: string, generations: readonly PrintedGeneration[], options: KeyOutputOptions): string {
  const lines = generations.flatMap((generation) => {
    if (options.format === 'json') return [formatJson(id, generation, options.label)];
    return options.label.map((label) => {
      const key = Buffer.from(generation.keys[label] ?? '', 'hex').toString(options.format === 'hex' ? 'hex' : 'base64');
      return options.kid === true ? `${generation.kid} ${key}` : key;
    });
  });
  return `${lines.join('\n')}\n`;
}

function formatJson(
  id: string,
  { kid, keys, not_after, fingerprint, until }: PrintedGeneration,
  labels: readonly string[],
): string {
  const [label = ''] = labels;
  const named = labels.length === 1 ? { label, key: keys[label] } : { keys };
  return JSON.stringify({ id, ...named, kid, not_after, fingerprint, ...(until === undefined ? {} : { until }) });
}
