/** `targets:` of a configuration: which keys go into which file, and who is notified. */

import { isAbsolute, normalize } from 'node:path';
import { isReservedLabel } from '@latchkey/protocol';
import { parseDuration } from '@latchkey/runtime/config';
import * as z from 'zod/mini';

/**
 * | format | one line, or folder, of a generation | read by |
 * |---|---|---|
 * | `psk` | `IDENTITY:HEX` | mosquitto, GnuTLS, EMQX |
 * | `stunnel` | the same, never empty | stunnel |
 * | `hostapd` | `"IDENTITY" PSK HEX` | hostapd's `eap_user_file` |
 * | `libcoap` | `CoAP,IDENTITY,HEX` | `coap-server -i` |
 * | `oscore` | folder ID-KID | aiocoap, libcoap |
 * | `jsonl` | a JSON object | own programs |
 * | `template` | the file `template:` | anything else |
 */
const FORMATS = ['psk', 'stunnel', 'hostapd', 'libcoap', 'oscore', 'jsonl', 'template'] as const;
export type Format = (typeof FORMATS)[number];

/** `{id}` only has the current key: a file cannot have two keys under one identity. */
const IDENTITIES = ['{id}@{kid}', '{id}'] as const;
export type Identity = (typeof IDENTITIES)[number];

/** The labels of `format: oscore`. */
export const OSCORE_LABELS = { secret: 'oscore-master-secret', salt: 'oscore-master-salt' } as const;

/** A file that is made of the same keys as the file of its target. */
interface TemplatedFile {
  readonly file: string;
  readonly template: string;
}

/** One entry of `targets:`. Durations are in seconds. */
export interface TargetConfig {
  /** `undefined` if the format is `oscore`. */
  readonly label?: string | undefined;
  /** The file, or the folder if the format is `oscore`. */
  readonly file: string;
  readonly format: Format;
  readonly template?: string | undefined;
  readonly identity: Identity;
  readonly also: readonly TemplatedFile[];
  /** `USER` or `USER:GROUP`. */
  readonly owner?: string | undefined;
  readonly mode: number;
  readonly reload?: readonly string[] | undefined;
  readonly debounce: number;
  readonly max_wait: number;
  readonly on_revoke?: readonly string[] | undefined;
  readonly run_as?: string | undefined;
}

const MAX_TARGETS = 64;
const MAX_WORDS = 64;
/** No control characters and only ASCII, because a label is shown in messages. */
const LABEL = /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/;

const pathSchema = z
  .string()
  .check(
    z.refine(
      (path) => isAbsolute(path) && !path.includes('\0') && !path.endsWith('/') && normalize(path) === path,
      'expected an absolute path, without `..` and without / at its end',
    ),
  );

/** YAML reads 30 as a number, so type errors describe a duration, too. */
export const durationSchema: z.ZodMiniType<number> = z.pipe(
  z.string().check(z.refine((text) => parseDuration(text) !== undefined, 'expected a duration, e.g. 30s, 15m, or none')),
  z.transform((text) => parseDuration(text) ?? 0),
);

const commandSchema = z
  .array(z.string().check(z.refine((word) => word !== '' && !word.includes('\0'), 'expected text, and it is empty')))
  .check(z.minLength(1), z.maxLength(MAX_WORDS));

const accountSchema = z
  .string()
  .check(z.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/, 'expected USER or USER:GROUP'));

const modeSchema = z.pipe(
  z.string().check(
    z.regex(/^0?[0-7]{3}$/, 'expected an octal mode in quotes, e.g. "0600"'),
    z.refine((text) => (Number.parseInt(text, 8) & 0o007) === 0, 'expected a mode that lets nobody else in, e.g. "0640"'),
    z.refine((text) => (Number.parseInt(text, 8) & 0o600) === 0o600, 'expected a mode that lets the owner read and write'),
  ),
  z.transform((text) => Number.parseInt(text, 8) & 0o660),
);

const labelSchema = z.string().check(
  z.regex(LABEL, 'expected 1 to 64 characters of ASCII'),
  z.refine((label) => !isReservedLabel(label), 'expected a label that does not begin with "latchkey "'),
);

const targetSchema = z
  .strictObject({
    label: z.optional(labelSchema),
    file: pathSchema,
    format: z.enum(FORMATS),
    template: z.optional(pathSchema),
    identity: z._default(z.enum(IDENTITIES), '{id}@{kid}'),
    also: z._default(z.array(z.strictObject({ file: pathSchema, template: pathSchema })).check(z.maxLength(8)), []),
    owner: z.optional(accountSchema),
    mode: z._default(modeSchema, 0o600),
    reload: z.optional(commandSchema),
    debounce: z._default(durationSchema, 1),
    max_wait: z._default(durationSchema, 5),
    on_revoke: z.optional(commandSchema),
    run_as: z.optional(accountSchema),
  })
  .check((context) => {
    const { value } = context;
    const problem = (path: string, message: string): void => {
      context.issues.push({ code: 'custom', path: [path], message, input: value });
    };
    const isOscore = value.format === 'oscore';
    if (isOscore && value.label !== undefined) problem('label', 'expected none: format oscore has its own two labels');
    if (!isOscore && value.label === undefined) problem('label', 'expected a label, e.g. mqtt-psk, and it is missing');
    if (isOscore && value.also.length > 0) problem('also', 'expected none: format oscore writes folders');
    if (isOscore && value.identity !== '{id}@{kid}') problem('identity', 'expected {id}@{kid}: an OSCORE context has one key');
    if ((value.format === 'template') !== (value.template !== undefined))
      problem(
        'template',
        value.template === undefined ? 'expected a path, and it is missing' : 'expected none: only for format template',
      );
    if (value.debounce > value.max_wait) problem('debounce', 'expected max_wait or less');
  });

/** Rejects two targets that write one file. */
export const targetsSchema: z.ZodMiniType<readonly TargetConfig[]> = z
  .array(targetSchema)
  .check(z.minLength(1), z.maxLength(MAX_TARGETS), (context) => {
    const seen = new Set<string>();
    for (const [index, { file, also }] of context.value.entries()) {
      for (const path of [file, ...also.map((one) => one.file)]) {
        if (seen.has(path)) {
          const message = `expected another file: ${path} is written already`;
          context.issues.push({ code: 'custom', path: [index, 'file'], message, input: context.value });
        }
        seen.add(path);
      }
    }
  });

/** All labels that the targets need. */
export function labelsOf(targets: readonly TargetConfig[]): string[] {
  return [...new Set(targets.flatMap(({ label }) => (label === undefined ? Object.values(OSCORE_LABELS) : [label])))];
}
