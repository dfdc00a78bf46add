/** What the soak's campaigns have in common. */

/** How much to do: for the record, for each push, for `pnpm test:ci`. */
export type Scale = 'full' | 'medium' | 'short';

interface CampaignOptions {
  readonly scale: Scale;
  readonly seed: number;
  /** Whether the controller is pass-through. */
  readonly passThrough?: boolean;
  /** Tells how far it is, for whoever waits. */
  readonly report: (text: string) => void;
}

/** What was run, with counts, and what did not hold: nothing, or the campaign has failed. */
export interface CampaignResult {
  readonly counts: Readonly<Record<string, number | string>>;
  readonly failures: readonly string[];
}

export type Campaign = (options: CampaignOptions) => Promise<CampaignResult>;
