// New orders and handing over keys, without a browser: what is asked for, and the manifest that the
// page opens.

import type { NodeView } from '@latchkey/operations/contract';
import { formatManifest, parseLabel } from '@latchkey/provisioning';
import { formatLabelText, labelInCapitals } from '@latchkey/provisioning/label-text';
import { newSecret } from '@latchkey/test-support/registry-fixtures';
import { describe, expect, it } from 'vitest';
import { changeFrom, type DescriptionDraft, draftOf, draftOnTop } from '../src/description-draft.js';
import { installerFrom } from '../src/installer-draft.js';
import { mayHaveBegun, NEW_ORDER, orderRequest } from '../src/new-order-request.js';
import { readRecipients } from '../src/recipients.js';
import { OpenedManifest } from '../src/opened-manifest.js';
import { joinTimes, progressBySite } from '../src/order-sites.js';

const TERMS = { ...NEW_ORDER, installer: ' Kim & Sons ', controller: '0000001F', count: '40' };

describe('a new order', () => {
  it('asks for what was typed, and leaves out what was not', () => {
    expect(orderRequest(TERMS, { isUtc: true })).toEqual({
      installer: 'Kim & Sons',
      controller: '0000001f',
      count: 40,
      shared_key: false,
      lifetime_seconds: 7_776_000,
      grace_seconds: 604_800,
    });
  });

  it('has times in the zone that the reader chose', () => {
    const window = { joinFrom: '2026-12-01T08:00', joinUntil: '2026-12-24T18:30' };
    expect(orderRequest({ ...TERMS, ...window }, { isUtc: true })).toMatchObject({
      join_from: '2026-12-01T08:00:00.000Z',
      join_until: '2026-12-24T18:30:00.000Z',
    });
    expect(orderRequest({ ...TERMS, ...window }, { isUtc: false })).toMatchObject({
      join_from: new Date(2026, 11, 1, 8).toISOString(),
      join_until: new Date(2026, 11, 24, 18, 30).toISOString(),
    });
  });

  it('takes recipients however they were pasted', () => {
    expect(readRecipients(' age1a\nage1b, age1c;age1d \r\n\n')).toEqual(['age1a', 'age1b', 'age1c', 'age1d']);
    expect(readRecipients(' \n')).toEqual([]);
    // As age-keygen prints it, and as it writes it into a file.
    expect(readRecipients('Public key: age1a')).toEqual(['age1a']);
    const file = '# created: 2026-11-24T15:31:19+01:00\r\n# public key: age1a\r\nAGE-SECRET-KEY-1Q\r\n';
    expect(readRecipients(file)).toEqual(['age1a', 'AGE-SECRET-KEY-1Q']);
  });
});

it('a request that may have begun its job is sent again as the same one', () => {
  const undecided = [
    ['unreachable', 0],
    ['not-authenticated', 401],
    ['step-up-required', 403],
    ['request-under-way', 409],
    ['too-many-requests', 429],
    ['unavailable', 503],
  ] as const;
  const decided = [
    ['bad-request', 400],
    ['forbidden', 403],
    ['refused', 409],
    // Of a job that has ended.
    ['unavailable', 0],
    ['job-interrupted', 0],
  ] as const;
  expect(undecided.filter(([name, status]) => !mayHaveBegun({ name, status }))).toEqual([]);
  expect(decided.filter(([name, status]) => mayHaveBegun({ name, status }))).toEqual([]);
});

describe('an installer', () => {
  const draft: DescriptionDraft = { contact: '+49 30 1', site: '', note: '', recipients: 'age1a\nage1b' };

  it('is asked for as it was typed, without what is empty', () => {
    expect(installerFrom(' Kim ', { ...draft, recipients: ' age1a, age1b\n' })).toEqual({
      name: 'Kim',
      contact: '+49 30 1',
      recipients: ['age1a', 'age1b'],
    });
    expect(installerFrom('Bo', draftOf('installer', {}))).toEqual({ name: 'Bo' });
  });

  it('is changed in what differs: recipients that stay need no password', () => {
    expect(changeFrom(draft, { ...draft, contact: ' ', note: 'gate 3', recipients: ' age1a age1b ' })).toEqual({
      contact: null,
      note: 'gate 3',
    });
    expect(changeFrom(draft, { ...draft, recipients: 'age1b' })).toEqual({ recipients: ['age1b'] });
    expect(changeFrom(draft, { ...draft, recipients: '' })).toEqual({ recipients: [] });
    expect(changeFrom(draft, { ...draft, recipients: 'age1b,age1a' })).toEqual({});
    expect(changeFrom(draft, draft)).toEqual({});
  });

  it('gets what was typed on top of what others saved: no recipient comes back', () => {
    const typed = { ...draft, note: 'gate 3', recipients: 'age1b age1mine' };
    const now = { ...draft, contact: 'Bo', note: 'gate 4', recipients: 'age1a\nage1new' };
    expect(draftOnTop(draft, typed, now)).toEqual({ contact: 'Bo', site: '', note: 'gate 3', recipients: 'age1new\nage1mine' });
    expect(draftOnTop(draft, draft, now)).toEqual(now);
  });
});

describe('an opened manifest', () => {
  const hosts = ['192.0.2.1', '2001:db8::1', 'controller-1.example', 'fe80::1%eth0', 'fe80::1%a"b,c'];
  const lines = hosts.map((host, index) => ({
    idI: 0xa1b2 + index,
    idC: 1,
    controller: { host, port: 5683 },
    ik: newSecret(),
  }));
  const octets = (): Uint8Array => new TextEncoder().encode(formatManifest(lines));

  it('has the label of each line, as a device takes it', () => {
    const manifest = new OpenedManifest(octets());
    const labels = lines.map((_, index) => labelInCapitals(formatLabelText(manifest.line(index))));
    expect(labels.map((label) => parseLabel(label, 'label').ik.toHex())).toEqual(lines.map(({ ik }) => ik.toHex()));
    expect(labels.map((label) => parseLabel(label, 'label').controller)).toEqual(
      lines.map(({ controller: { host, port } }) => ({ host: host.replace(/^[^%]+/, (text) => text.toLowerCase()), port })),
    );
    expect(manifest.length).toBe(lines.length);
  });

  it('holds no key once it is wiped', () => {
    const held = octets();
    const manifest = new OpenedManifest(held);
    manifest.wipe();
    expect(held.every((octet) => octet === 0)).toBe(true);
    expect(() => manifest.line(0)).toThrow(RangeError);
  });

  it('is not made of another text, which no message repeats', () => {
    const [heading = '', line = ''] = formatManifest(lines).split('\n');
    const key = line.split(',').at(-1) ?? '';
    for (const text of ['', '\n', line, `${line}\n`, `${heading}\n${key}\n`, `${heading}\n${line},\n`]) {
      const make = (): OpenedManifest => new OpenedManifest(new TextEncoder().encode(text));
      expect(make).toThrow(RangeError);
      expect(make).toThrow(expect.not.stringContaining(key));
    }
  });
});

describe('an order by site', () => {
  const node = (site: string | null, joinedAt: string | null): NodeView =>
    ({ site, joined_at: joinedAt, key_is_initial: joinedAt === null }) as NodeView;
  const nodes = [
    node('south', null),
    node('north', '2026-11-29T14:02:00.000Z'),
    node(null, null),
    node('north', '2026-11-28T09:00:00.000Z'),
    node('north', null),
  ];

  it('has the largest site first, and nodes without a site', () => {
    expect(progressBySite(nodes)).toEqual([
      { site: 'north', nodes: 3, joined: 2 },
      { site: 'south', nodes: 1, joined: 0 },
      { site: null, nodes: 1, joined: 0 },
    ]);
  });

  it('has its first and its latest join, if there is one', () => {
    expect(joinTimes(nodes)).toEqual({ first: '2026-11-28T09:00:00.000Z', latest: '2026-11-29T14:02:00.000Z' });
    expect(joinTimes(nodes.slice(0, 1))).toBeUndefined();
  });
});
