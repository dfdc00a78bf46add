// What `deliver` makes of a real key socket: snapshots, and what it acknowledges.

import { CapturedLog } from '@latchkey/test-support/fixtures';
import { expect, it, onTestFinished } from 'vitest';
import { ChangeLog } from '../../src/change-log.js';
import { KeySubscription } from '../../src/targets/key-subscription.js';
import { startServer } from '../fixtures.js';

const DEADLINE = { timeout: 120_000, interval: 20 };

it('acknowledges a snapshot that was sent anew, and so lags behind no longer', async () => {
  const { source, server, path } = await startServer({ changes: new ChangeLog(4) });
  const sizes: number[] = [];
  const subscription = new KeySubscription({
    path,
    labels: ['mqtt-psk'],
    log: new CapturedLog().log,
    onSnapshot: ({ size }) => {
      sizes.push(size);
      subscription.acknowledge();
    },
    onNode: () => undefined,
    onRevoked: () => undefined,
  });
  onTestFinished(() => subscription.stop());
  subscription.start();
  await expect.poll(() => sizes, DEADLINE).toEqual([0]);
  // More changes than the log holds, before one of them is sent.
  for (let idI = 1; idI <= 10; idI++) source.join(idI);
  await expect.poll(() => sizes, DEADLINE).toEqual([0, 10]);
  const lag = server.metrics.find(({ name }) => name === 'latchkey_key_subscriber_lag');
  await expect.poll(() => (lag?.type === 'gauge' ? lag.read() : undefined), DEADLINE).toBe(0);
});

it('says why the daemon refuses it, and gives no snapshot', async () => {
  const { path } = await startServer();
  const log = new CapturedLog();
  const sizes: number[] = [];
  const subscription = new KeySubscription({
    path,
    labels: ['tls-psk'],
    log: log.log,
    onSnapshot: ({ size }) => sizes.push(size),
    onNode: () => undefined,
    onRevoked: () => undefined,
  });
  onTestFinished(() => subscription.stop());
  subscription.start();
  await expect.poll(() => subscription.failures, DEADLINE).toBe(1);
  expect(subscription.fault).toContain('the label tls-psk is not for this socket');
  expect(sizes).toEqual([]);
});
