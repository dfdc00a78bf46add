import type { Figure } from './figure.js';

/** What every suite is told. */
export interface Run {
  /** Rounds of each measurement. */
  readonly rounds: number;
  /** On a real disk; the suite may fill it, whoever made it removes it. */
  readonly folder: string;
  /** Says what is being measured, for a person who waits. */
  readonly tell: (what: string) => void;
}

export interface Outcome {
  readonly figures: readonly Figure[];
  /** What is to be known of them, a sentence each. */
  readonly remarks: readonly string[];
}

export type Suite = (run: Run) => Promise<Outcome>;
