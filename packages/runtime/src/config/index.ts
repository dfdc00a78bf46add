/** Configuration files and durations. */

export { InvalidContent, loadConfig, loadPrivateJson, locateProblems, parseOrFail, parsePrivateJson } from './config.js';
export { formatDuration, parseDuration } from './duration.js';
export type { ConfigProblem } from './yaml-config.js';
export { environment } from './environment.js';
export { describeIssue, errorMap, textError } from './zod-error-map.js';
