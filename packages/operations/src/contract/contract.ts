import { z } from 'zod';

/**
 * What a caller must be allowed to do. `keys`: initial keys or credentials are handed out.
 * `describe`: nodes get a name, a location and a note.
 */
export type Scope = 'read' | 'describe' | 'nodes' | 'orders' | 'controllers' | 'keys' | 'audit' | 'admin';

/** The name of an operation, with its input and its output. */
export interface Contract<Input, Output> {
  /** `nodes.list`: the entity, and the action. */
  readonly name: string;
  readonly scope: Scope;
  /** It shows and changes only what its caller sees: callers with limits may call it. */
  readonly isLimitable?: true | undefined;
  readonly input: z.ZodType<Input>;
  /** Strips fields that it does not name. */
  readonly output: z.ZodType<Output>;
}

/** ID_i or ID_c. */
export const idSchema: z.ZodType<string> = z.string().regex(/^[0-9a-f]{8}$/, 'expected 8 hex digits');

/** A time with its zone, such as `2026-12-24T18:00:00Z`. */
export const timeSchema: z.ZodType<string> = z.iso.datetime({ offset: true });

/** Times that are printed are UTC, to the millisecond. */
export const printedTimeSchema: z.ZodType<string> = z.iso.datetime({ precision: 3 });

export const orderNumberSchema: z.ZodType<number> = z.int().min(1).max(0xffff_ffff);

/** Seconds; 0 for none. */
export const durationSchema: z.ZodType<number> = z.int().min(0).max(0xffff_ffff);

/** A key by the 4 hex digits that stand for it. */
export const fingerprintSchema: z.ZodType<string> = z.string().regex(/^[0-9a-f]{4}$/, 'expected 4 hex digits');

/** `host:port`. */
export const endpointSchema: z.ZodType<string> = z.string().min(1);

/**
 * Controls, line breaks, characters that change how those next to them are shown, and halves of a
 * character.
 */
export const UNSEEN: RegExp = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
/** Octets of a character in UTF-8. */
const MAX_OCTETS = 4;

/** One line of text in NFC, without blanks around it. */
export function textSchema(maxCharacters: number): z.ZodType<string> {
  return z
    .string()
    .max(MAX_OCTETS * maxCharacters, `expected ${maxCharacters} characters at most`)
    .normalize('NFC')
    .trim()
    .min(1, 'expected some text')
    .refine((text) => !UNSEEN.test(text), 'expected one line, without characters that cannot be seen')
    .refine((text) => Array.from(text).length <= maxCharacters, `expected ${maxCharacters} characters at most`);
}

/** Characters of a name of an installer or a manufacturer. */
export const MAX_NAME = 128;

export const nameSchema: z.ZodType<string> = textSchema(MAX_NAME);
