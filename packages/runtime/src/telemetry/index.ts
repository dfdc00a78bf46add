/** Health checks and metrics over HTTP. */

export { Histogram, LabelledCounter } from './counter.js';
export { healthCommand } from './http/health.js';
export { commitsMetric, dropsMetric, exchangesMetric, joinsMetric, samples } from './metrics.js';
export type { Check, Metric, Sample, Telemetry } from './telemetry.js';
export { readVersion } from '../version.js';
