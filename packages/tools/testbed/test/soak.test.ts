// Proves in short form what `pnpm soak` shows at length: storms, kills, hostile datagrams and
// floods lock nobody out and end nothing.

import { describe, expect, it } from 'vitest';
import type { Campaign } from '../src/soak/campaign.js';
import { coreDump, HAS_GCORE } from '../src/soak/core-dump.js';
import { firewall, floods } from '../src/soak/floods.js';
import { Firewall } from '../src/soak/firewall.js';
import { hostile } from '../src/soak/hostile.js';
import { kills } from '../src/soak/kills.js';
import { proofs } from '../src/soak/proofs.js';
import { storm } from '../src/soak/storm.js';

const CAMPAIGNS: Readonly<Record<string, Campaign>> = { storm, kills, hostile, floods, proofs };

const LONG = { timeout: 15 * 60_000 };

describe('the soak in short form', () => {
  it.each(Object.entries(CAMPAIGNS))('%s', LONG, async (_, campaign) => {
    expect(await failuresOf(campaign)).toEqual([]);
  });

  it.skipIf(!HAS_GCORE)('core (needs gcore)', LONG, async () => {
    expect(await failuresOf(coreDump)).toEqual([]);
  });

  it.skipIf(!Firewall.AVAILABLE)('firewall (needs root and nft)', LONG, async () => {
    expect(await failuresOf(firewall)).toEqual([]);
  });
});

/** With the seed, if there are any. */
async function failuresOf(campaign: Campaign): Promise<string[]> {
  const seed = Date.now() % 2 ** 31;
  const { failures } = await campaign({ scale: 'short', seed, report: () => undefined });
  return failures.map((failure) => `seed ${seed}: ${failure}`);
}
