/** ms since the epoch as ISO 8601 with Z. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
