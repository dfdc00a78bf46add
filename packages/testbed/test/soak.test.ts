// Proves in short form what `pnpm soak` shows at length: storms, kills, hostile datagrams and floods lock nobody out and end nothing.

import { describe, expect, it } from 'vitest';
import type { Campaign } from '../src/soak/campaign.js';
import { firewall, floods } from '../src/soak/floods.js';
import { hostile } from '../src/soak/hostile.js';
import { kills } from '../src/soak/kills.js';
import { storm } from '../src/soak/storm.js';

const CAMPAIGNS: Readonly<Record<string, Campaign>> = { storm, kills, hostile, floods, firewall };

describe('the soak in short form', () => {
  it.each(Object.entries(CAMPAIGNS))('%s', { timeout: 15 * 60_000 }, async (_, campaign) => {
    const seed = Date.now() % 2 ** 31;
    const { failures } = await campaign({ scale: 'short', seed, say: () => undefined });
    expect(failures, `seed ${seed}`).toEqual([]);
  });
});
