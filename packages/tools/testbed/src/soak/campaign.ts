/** What the soak's campaigns have in common. */

/** How much to do: for the record, for each push, for `pnpm test:ci`. */
export type Scale = 'full' | 'medium' | 'short';

interface CampaignOptions {
  readonly scale: Scale;
  readonly seed: number;
  /** Whether the controller is pass-through. */
  readonly passThrough?: boolean;
  /** Reports the progress of a campaign. */
  readonly report: (text: string) => void;
}

/** What was run, with counts, and the violations. If there are any, the campaign has failed. */
export interface CampaignResult {
  readonly counts: Readonly<Record<string, number | string>>;
  readonly failures: readonly string[];
}

export type Campaign = (options: CampaignOptions) => Promise<CampaignResult>;
