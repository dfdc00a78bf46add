/** Configuration files and durations. */

export {
  type ConfigProblem,
  describeIssue,
  InvalidContent,
  loadConfig,
  loadPrivateJson,
  locateProblems,
  parseOrFail,
} from './config.js';
export { formatDuration, parseDuration } from './duration.js';
export { environment } from './environment.js';
export { errorMap, textError } from './zod-error-map.js';
