/** `targets:`: the keys of nodes in the files of other programs. */

export { Deliverer, type DelivererOptions } from './deliverer.js';
export { type CurrentKeys, type DeliveredNode, type FormerKeys, KeySnapshot } from './key-snapshot.js';
export { KeySubscription, type SubscriptionOptions } from './key-subscription.js';
export { durationSchema, labelsOf, type TargetConfig, targetsSchema } from './target-config.js';
export { checkTargets } from './target.js';
export { assertTrusted } from './trusted-path.js';
export { locatingProblems } from './wrong-targets.js';
