/** Configuration files and durations. */

export { describeIssue, InvalidContent, loadConfig, loadPrivateJson, parseOrFail } from './config.js';
export { formatDuration, parseDuration } from './duration.js';
export { environment } from './environment.js';
export { errorMap } from './zod-error-map.js';
