/** What an administrator does about a clock that was set back. */

import { formatId, type TimeRange } from '@latchkey/protocol';
import { UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { blockedRanges, controllersWithOldKeys, holdoffUntil, releaseRanges } from './clock-release.js';
import * as contract from './contract/clock.js';
import type { ClockRelease, ClockView, TimeRangeView } from './contract/clock.js';
import { type Approval, type Context, implement, type Operation } from './operation.js';

export const clockShow: Operation<object, ClockView> = implement(contract.clockShow, viewClock);

function viewClock(context: Context): ClockView {
  const { registry, clock } = context;
  return {
    holdoff_until: holdoffOf(context),
    blocked_ranges: blockedRanges(registry.clockHistory, clock().wallMs).map(viewRange),
    controllers_with_old_keys: controllersWithOldKeys(registry).map(formatId),
  };
}

/** What is to be released, and which controllers make that unsafe. */
export type ReleaseContext = Context & Approval<ClockView>;

export const clockRelease: Operation<object, ClockRelease, ReleaseContext> = implement(
  contract.clockRelease,
  async (context: ReleaseContext) => {
    const view = viewClock(context);
    const { holdoff_until: holdoff } = view;
    if (view.blocked_ranges.length === 0) {
      const nothing = holdoff === null ? 'nothing is refused for the clock' : 'there is nothing to release but to wait';
      throw new UsageFailure(nothing, { advice: holdoff === null ? 'Nothing was changed.' : `${describeHoldoff(holdoff)}.` });
    }
    await context.approve?.(view);
    const released = await releaseRanges(context.registry, context.clock().wallMs);
    return { released_ranges: released.map(viewRange), holdoff_until: holdoff };
  },
);

function holdoffOf({ registry, clock }: Context): string | null {
  const until = holdoffUntil(registry.clockHistory, clock());
  return until === undefined ? null : isoTime(until);
}

export function describeHoldoff(until: string): string {
  return `No key is committed before ${until}: the clock was set back less than five minutes ago, and nothing shortens that`;
}

function viewRange({ from, until }: TimeRange): TimeRangeView {
  return { from: isoTime(from), until: isoTime(until) };
}
