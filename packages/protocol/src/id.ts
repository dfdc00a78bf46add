import { MAX_ID } from './constants.js';

/** ID_i and ID_c as people write them: 8 hex digits. */
export function formatId(id: number): string {
  return id.toString(16).padStart(8, '0');
}

/** `undefined` unless `text` is exactly 8 hex digits. */
export function parseId(text: string): number | undefined {
  return /^[0-9a-fA-F]{8}$/.test(text) ? Number.parseInt(text, 16) : undefined;
}

export function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_ID;
}

/** TID as people read it: 16 hex digits. */
export function formatTid(tid: bigint): string {
  return tid.toString(16).padStart(16, '0');
}
