/** The configuration's `keys:`. */

import { parseDuration, textError } from '@latchkey/runtime/config';
import { isSocketPath, MAX_SOCKET_PATH } from '@latchkey/runtime/net';
import { z } from 'zod';
import { MAX_LABELS, wrongLabel } from './labels.js';

/** One key socket. */
export interface KeySocketSettings {
  /** The path of the socket. */
  readonly socket: string;
  /** 0660, or 0600: for the daemon's own user and root only. */
  readonly mode: number;
  /** A name or a gid; the daemon's own group unless set. */
  readonly group?: string | number | undefined;
  /** The labels that applications may have keys for. */
  readonly labels: readonly string[];
}

/** For how long a replaced generation is served, in ms, unless the configuration says otherwise. */
export const DEFAULT_OVERLAP_MS = 900_000;

const MAX_SOCKETS = 16;
const MAX_GID = 2 ** 32 - 2;
const SCHEME = 'unix:';
const MODES: Readonly<Record<string, number>> = { '0600': 0o600, '0660': 0o660 };

const SOCKET_EXPECTED = `expected the path of a socket, beginning with / and of ${MAX_SOCKET_PATH} octets at most`;

const socketSchema = z.string(textError(SOCKET_EXPECTED)).transform((text, { issues }) => {
  const path = text.startsWith(SCHEME) ? text.slice(SCHEME.length) : text;
  if (isSocketPath(path)) return path;
  issues.push({ code: 'custom', message: SOCKET_EXPECTED, input: text });
  return z.NEVER;
});

/** YAML 1.2 reads 0660 without quotes as the number 660. */
const modeSchema = z.union([z.string(), z.number()]).transform((value, { issues }) => {
  const mode = MODES[String(value).padStart(4, '0')];
  if (mode !== undefined) return mode;
  issues.push({ code: 'custom', message: 'expected "0660" or "0600": others may never have keys', input: value });
  return z.NEVER;
});

const labelSchema = z.string().superRefine((label, context) => {
  const message = wrongLabel(label);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

/** A time as people write it, in ms. */
export const durationMsSchema = (example: string): z.ZodType<number, string> =>
  z.string(textError(`expected a time like ${example}`)).transform((text, context) => {
    const seconds = parseDuration(text);
    if (seconds !== undefined && seconds > 0) return seconds * 1000;
    context.addIssue({ code: 'custom', message: `expected a time like ${example}` });
    return z.NEVER;
  });

/** A list of sockets, none twice. */
export const keysSchema: z.ZodType<readonly KeySocketSettings[]> = z
  .array(
    z.strictObject({
      socket: socketSchema,
      mode: modeSchema.prefault('0660'),
      group: z.union([z.string().min(1), z.int().min(0).max(MAX_GID)]).optional(),
      labels: z.array(labelSchema).min(1).max(MAX_LABELS),
    }),
  )
  .max(MAX_SOCKETS)
  .superRefine((sockets, context) => {
    sockets.forEach(({ socket }, index) => {
      if (sockets.findIndex((other) => other.socket === socket) < index)
        context.addIssue({
          code: 'custom',
          path: [index, 'socket'],
          message: 'expected another socket: this one is above already',
        });
    });
  });
