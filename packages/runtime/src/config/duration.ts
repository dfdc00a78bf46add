import { MAX_LIFETIME } from '@latchkey/protocol';

const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 } as const;

/**
 * `30d`, `12h`, `90m`, `45s`, `2w` in seconds, or `none` as 0; `undefined` if it is none of these
 * or does not fit 32 bits.
 */
export function parseDuration(text: string): number | undefined {
  if (text === 'none') return 0;
  const match = /^(\d{1,10})([smhdw])$/.exec(text);
  if (match === null) return undefined;
  const seconds = Number(match[1]) * SECONDS[match[2] as keyof typeof SECONDS];
  return seconds > 0 && seconds <= MAX_LIFETIME ? seconds : undefined;
}

/** Seconds as the largest unit that divides them: `30d`; 0 is `none`. */
export function formatDuration(seconds: number): string {
  if (seconds === 0) return 'none';
  for (const unit of ['d', 'h', 'm'] as const) {
    if (seconds % SECONDS[unit] === 0) return `${seconds / SECONDS[unit]}${unit}`;
  }
  return `${seconds}s`;
}
