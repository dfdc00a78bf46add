/** Command lines: options, tables, prompts for secrets, exit codes. */

export {
  addAdviceTargets,
  adviceInOneLine,
  type AdviceTarget,
  type AdviceTargets,
  adviceTargets,
  decryptInto,
  formatCommandLine,
  markElsewhere,
  markLocal,
  parseCommandLine,
  repeatInAdvice,
  shellWord,
  sortOptions,
  STATE_FOLDERS,
  withPlaceOptions,
} from './advice.js';
export { type ApplicationKeyOptions, applicationKeyOptions } from './application-key.js';
export {
  commandToRun,
  idArgument,
  integerArgument,
  listenOption,
  logLevelOption,
  main,
  peerArgument,
  program,
  withExamples,
} from './cli.js';
export { deriveKeys, expiredFailure, noFormerKey } from '../derived-keys.js';
export { readSecretInput } from './secret-prompt.js';
export { formatFields, formatTable } from './table.js';
export { endTimeArgument, formatDate, formatLocalTime, type GivenTime, startTimeArgument, TIME_HELP } from './time.js';
