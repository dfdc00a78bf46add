/**
 * Logs: one JSON object a line, pretty on a terminal. Keys never get here: a Secret throws where it
 * would be serialised.
 */

import { type DestinationStream, type Logger, pino } from 'pino';
import { PROCESS_TIME, type ProcessTime } from './process-time.js';

type SonicBoom = ReturnType<typeof pino.destination>;

export type Log = Logger;
/** Quietest first. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Standard output for a daemon, standard error for a command with output of its own. */
export type LogStream = 'stdout' | 'stderr';

/** Times are ISO-8601 in UTC. The pretty printer is loaded for a terminal only. */
export async function createLog(name: string, level: LogLevel, stream: LogStream = 'stdout'): Promise<Log> {
  return newLog(name, level, await destination(stream, level));
}

/** @param hasTime whether a line says when it was written */
export function newLog(name: string, level: LogLevel, stream: DestinationStream, hasTime = true): Log {
  return pino(
    {
      name,
      level,
      timestamp: hasTime && pino.stdTimeFunctions.isoTime,
      base: { name },
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/** Octets of lines that wait for a place where they can be written. */
const MAX_BUFFERED = 1024 * 1024;
/** Characters that are written at once, and the time that a line may wait in the buffer, in ms. */
const FLUSH_SIZE = 8 * 1024;
const FLUSH_INTERVAL_MS = 10;

/**
 * Buffers log lines for a few milliseconds and writes them together. One write per line takes
 * longer than all other work for the line. A killed process loses buffered lines. At level `debug`,
 * which logs each message, no line is buffered.
 */
function bufferedDestination(lines: SonicBoom): DestinationStream & { flushSync(): void } {
  let buffered = '';
  const flush = (): void => {
    if (buffered === '') return;
    const text = buffered;
    buffered = '';
    lines.write(text);
  };
  process.on('exit', flush);
  return {
    // pino calls this after a fatal line, which must be written at once.
    flushSync: flush,
    write(line) {
      if (buffered === '') setTimeout(flush, FLUSH_INTERVAL_MS);
      buffered += line;
      if (buffered.length >= FLUSH_SIZE) flush();
    },
  };
}

async function destination(stream: LogStream, level: LogLevel): Promise<DestinationStream> {
  const { fd, isTTY } = process[stream];
  if (!isTTY) {
    // A log that cannot be written, on a full disk say, is no reason to stop serving: lines wait,
    // up to 1 MiB, then get lost.
    const lines = pino.destination({ dest: fd, sync: true, maxLength: MAX_BUFFERED });
    lines.on('error', () => undefined);
    return level === 'debug' ? lines : bufferedDestination(lines);
  }
  const { default: pretty } = await import('pino-pretty');
  const colorize = (process.env['NO_COLOR'] ?? '') === '';
  return pretty({ destination: fd, sync: true, colorize, ignore: 'name', translateTime: false, singleLine: true });
}

/** Lines about one thing in one period before the rest are only counted. */
const LINES_PER_PERIOD = 20;
const PERIOD_MS = 10_000;
const MAX_TOPICS = 64;

/**
 * Rate limit for log lines that unauthenticated senders can cause: at most 20 about one event in 10
 * seconds. Then one line says how many were suppressed. The caller names the event with a constant.
 */
export class RateLimitedLog {
  readonly #log: Log;
  readonly #now: ProcessTime['now'];
  readonly #topics = new Map<string, { since: number; lines: number; suppressed: number }>();

  constructor(log: Log, { now }: Pick<ProcessTime, 'now'> = PROCESS_TIME) {
    this.#log = log;
    this.#now = now;
  }

  error(thing: string, fields: object, message: string): void {
    this.#write('error', thing, fields, message);
  }

  warn(topic: string, fields: object, message: string): void {
    this.#write('warn', topic, fields, message);
  }

  info(topic: string, fields: object, message: string): void {
    this.#write('info', topic, fields, message);
  }

  #write(level: 'error' | 'warn' | 'info', topic: string, fields: object, message: string): void {
    const now = this.#now();
    let period = this.#topics.get(topic);
    if (period === undefined || now - period.since >= PERIOD_MS) {
      if (period !== undefined && period.suppressed > 0)
        this.#log[level]({ topic, suppressed: period.suppressed }, 'lines like this were left out');
      if (this.#topics.size >= MAX_TOPICS) this.#topics.clear();
      period = { since: now, lines: 0, suppressed: 0 };
      this.#topics.set(topic, period);
    }
    if (period.lines >= LINES_PER_PERIOD) {
      period.suppressed += 1;
      return;
    }
    period.lines += 1;
    this.#log[level](fields, message);
  }
}
