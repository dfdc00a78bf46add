import type { RatioMetric } from './ratio.js';
import type { BarChart, Series } from './series.js';

/** How much time there is: for a check in CI, for a person, for ten minutes of one thing. */
export type Depth = 'quick' | 'full' | 'long';

/** What every suite is told. */
export interface SuiteRun {
  /** Rounds of each measurement. */
  readonly rounds: number;
  readonly depth: Depth;
  /** On a real disk; the suite may fill it, whoever made it removes it. */
  readonly folder: string;
  /** Says what is being measured, for a person who waits. */
  readonly report: (what: string) => void;
}

/** What is not a ratio. */
export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface SuiteResult {
  readonly figures: readonly RatioMetric[];
  /** What is to be known of them, a sentence each. */
  readonly remarks: readonly string[];
  readonly series?: readonly Series[];
  readonly chart?: BarChart;
  readonly tables?: readonly Table[];
}

export type Suite = (run: SuiteRun) => Promise<SuiteResult>;
