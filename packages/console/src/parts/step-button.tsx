/** Steps of a diagnosis that the console can do itself. */

import type { Action } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { patchNow } from '../api.js';
import { formatDuration } from '../format.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useMay } from '../session.js';
import { ChangeButton } from './change-button.js';

/** Renders nothing for steps that are done elsewhere, or that the user may not do. */
export function StepButton({ action }: { readonly action: Action }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const [mayNodes, mayOrders] = [useMay('nodes'), useMay('orders')];
  switch (action.kind) {
    case 'enable-node': {
      const { node } = action;
      if (!mayNodes) return <></>;
      return (
        <ChangeButton
          label={say('node.enable')}
          done={say('node.enabled', { id: node })}
          change={() => patchNow(`/v1/nodes/${node}`, { disabled: false })}
          undo={() => patchNow(`/v1/nodes/${node}`, { disabled: true })}
          isPrimary
        />
      );
    }
    case 'extend-grace': {
      const { node, grace_seconds: grace } = action;
      if (!mayNodes) return <></>;
      const duration = formatDuration(grace, locale);
      return (
        <ChangeButton
          label={say('node.extend-grace', { duration })}
          done={say('node.grace-extended', { id: node, duration })}
          change={() => patchNow(`/v1/nodes/${node}`, { grace_seconds: grace })}
          isPrimary
        />
      );
    }
    case 'resume-order': {
      const { order } = action;
      if (!mayOrders) return <></>;
      return (
        <ChangeButton
          label={say('orders.resume')}
          done={say('orders.resumed', { order: String(order) })}
          change={() => patchNow(`/v1/orders/${order}`, { state: 'open' })}
          undo={() => patchNow(`/v1/orders/${order}`, { state: 'suspended' })}
          isPrimary
        />
      );
    }
    default:
      return <></>;
  }
}
