/**
 * Configuration from YAML, state and credentials from JSON. An error names file, line, field and
 * the expected value.
 */

import * as z from 'zod/mini';
import { describeIssue, errorMap } from './zod-error-map.js';
import type { ConfigProblem } from './yaml-config.js';
import { type Advice, UsageFailure } from '../failure.js';
import { readPlainFile, readPrivateFile } from '../files/files.js';

/** A line of YAML that says nothing. */
const BLANK_OR_COMMENT = /^\s*(?:#.*)?$/;

/** Reads `path` (or nothing) as YAML of the given schema. A strict schema refuses unknown keys. */
export async function loadConfig<S extends z.core.$ZodType>(schema: S, path: string | undefined): Promise<z.output<S>> {
  if (path === undefined) return z.parse(schema, {});
  const text = await readPlainFile(path);
  // An installed configuration consists of comments only. Loading the parser would take a tenth of
  // a device's start, so it is loaded only if the text has content. The module for error messages
  // is loaded with it.
  if (text.split('\n').every((line) => BLANK_OR_COMMENT.test(line))) return z.parse(schema, {});
  const { parseYaml } = await import('./yaml-config.js');
  return parseYaml(schema, text, path);
}

/**
 * Names file and line of problems that were found after the configuration `path` was loaded, as of
 * a program that does not exist.
 */
export async function locateProblems(path: string, problems: readonly ConfigProblem[]): Promise<UsageFailure> {
  const yamlConfig = await import('./yaml-config.js');
  return yamlConfig.locateProblems(path, problems);
}

/** The content of a readable file is invalid. */
export class InvalidContent extends UsageFailure {
  /** Paths of the fields that are wrong; none where it is not JSON. */
  readonly fields: readonly string[];

  constructor(message: string, fields: readonly string[], options?: Advice) {
    super(message, options);
    this.fields = fields;
  }
}

/**
 * Reads a private file (mode 0600) as JSON of the given schema. `advice`: as `parsePrivateJson` has
 * it.
 */
export async function loadPrivateJson<S extends z.core.$ZodType>(schema: S, path: string, advice: string): Promise<z.output<S>> {
  return parsePrivateJson(schema, await readPrivateFile(path), path, advice);
}

/**
 * Parses the text of a private file as JSON of the given schema. Throws an InvalidContent that
 * names `path`.
 *
 * @param advice for text that is not JSON; the parser's own message would quote it, and it may
 *   contain a key
 */
export function parsePrivateJson<S extends z.core.$ZodType>(schema: S, text: string, path: string, advice: string): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InvalidContent(`${path}: not JSON`, [], { advice });
  }
  return parseOrFail(schema, json, path);
}

/**
 * The problems of `value` under `schema`, thrown as an InvalidContent that names `where`; else the
 * parsed value.
 */
export function parseOrFail<S extends z.core.$ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = z.safeParse(schema, value, { error: errorMap });
  if (result.success) return result.data;
  const { issues } = result.error;
  const fields = issues.map(({ path }) => path.map(String).join('.'));
  throw new InvalidContent(`${where}: ${issues.map(describeIssue).join('; ')}`, fields);
}
