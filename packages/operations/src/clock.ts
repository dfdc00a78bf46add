/** What an administrator does about a clock that was set back. */

import { type ClockHistory, formatId, type TimeRange } from '@latchkey/protocol';
import { UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { blockedRanges, controllersWithOldKeys, holdoffUntil, releaseRanges } from './clock-release.js';
import * as contract from './contract/clock.js';
import type { ClockRelease, ClockView, TimeRangeView } from './contract/clock.js';
import { type Approval, type Context, implement, type Operation } from './operation.js';

export const clockShow: Operation<object, ClockView> = implement(contract.clockShow, viewClock);

async function viewClock(context: Context): Promise<ClockView> {
  return viewHistory(context, await context.registry.readClockHistory());
}

async function viewHistory({ registry, clock }: Context, history: ClockHistory): Promise<ClockView> {
  const now = clock();
  const until = holdoffUntil(history, now);
  return {
    holdoff_until: until === undefined ? null : isoTime(until),
    blocked_ranges: blockedRanges(history, now.wallMs).map(viewRange),
    controllers_with_old_keys: (await controllersWithOldKeys(registry)).map(formatId),
  };
}

/** The ranges to release, and the controllers that make it unsafe. */
export type ReleaseContext = Context & Approval<ClockView>;

export const clockRelease: Operation<object, ClockRelease, ReleaseContext> = implement(
  contract.clockRelease,
  async (context: ReleaseContext) => {
    const history = await context.registry.readClockHistory();
    const view = await viewHistory(context, history);
    const { holdoff_until: holdoff } = view;
    if (view.blocked_ranges.length === 0) {
      const nothing = holdoff === null ? 'no times are blocked' : 'there is nothing to release but to wait';
      throw new UsageFailure(nothing, { advice: holdoff === null ? 'Nothing was changed.' : `${describeHoldoff(holdoff)}.` });
    }
    await context.approve?.(view);
    const released = await releaseRanges(context.registry, context.clock().wallMs, history.previous);
    return { released_ranges: released.map(viewRange), holdoff_until: holdoff };
  },
);

export function describeHoldoff(until: string): string {
  return `No key is committed before ${until}: the clock was set back less than five minutes ago, and nothing shortens that`;
}

function viewRange({ from, until }: TimeRange): TimeRangeView {
  return { from: isoTime(from), until: isoTime(until) };
}
