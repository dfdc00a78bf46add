/** Life of a daemon: start, reload, stop, log, clock, memory limit, systemd. */

export { BoxedMap } from './boxed-map.js';
export { type Clock, ClockStepDetector, monotonicNow, readClock, serverTime } from './clock.js';
export { repeat } from './housekeeping.js';
export { type Daemon, endDaemon, runDaemon } from './lifecycle.js';
export { createLog, type Log, LOG_LEVELS, type LogLevel, newLog, RateLimitedLog } from './log.js';
export { DEFAULT_MEMORY, limitMemory, MIN_MEMORY } from './memory.js';
export { dropNativeWords, holdNativeWords } from './native-stderr.js';
export { PROCESS_TIME, type ProcessTime } from './process-time.js';
export { randomOctets } from './random.js';
