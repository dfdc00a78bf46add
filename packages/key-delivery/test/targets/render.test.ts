import { describe, expect, it } from 'vitest';
import { KeySnapshot, type DeliveredNode } from '../../src/targets/key-snapshot.js';
import { oscoreContexts } from '../../src/targets/oscore-context.js';
import { renderFile, type RenderOptions } from '../../src/targets/render.js';
import { OSCORE_LABELS } from '../../src/targets/target-config.js';
import { Template } from '../../src/targets/template.js';
import { keyHex, LABEL, node } from './generations.js';

const MINUTE = 60_000;
const FILTER = { withFormer: true, overlapMs: Infinity, now: 100 * MINUTE };
const KEY = '000102030405060708090a0b0c0d0e0f';
const PLACEHOLDER = 'ff'.repeat(16);
const PSK: RenderOptions = { format: 'psk', label: LABEL, identity: '{id}@{kid}', placeholder: PLACEHOLDER };

function snapshotOf(...nodes: readonly DeliveredNode[]): KeySnapshot {
  const snapshot = new KeySnapshot();
  for (const one of nodes) snapshot.set(one);
  return snapshot;
}

/** Renders one generation, ID 0000a1b2, KID 11223344. */
function renderOne(options: Partial<RenderOptions>): string {
  const one = node('0000a1b2', { kid: '11223344', keys: { [LABEL]: KEY } });
  const generations = snapshotOf(one).generations(FILTER);
  return renderFile(generations, { ...PSK, ...options });
}

describe('a rendered file', () => {
  it.each([
    ['psk', `0000a1b2@11223344:${KEY}\n`],
    ['hostapd', `"0000a1b2@11223344" PSK ${KEY}\n`],
    ['libcoap', `CoAP,0000a1b2@11223344,${KEY}\n`],
    ['jsonl', `{"identity":"0000a1b2@11223344","id":"0000a1b2","kid":"11223344","key":"${KEY}","until":null}\n`],
  ] as const)('has a line of format %s for each generation', (format, line) => {
    expect(renderOne({ format })).toBe(line);
  });

  it('names a node by its ID if the identity has no key ID', () => {
    expect(renderOne({ identity: '{id}' })).toBe(`0000a1b2:${KEY}\n`);
  });

  it('repeats a template for each generation', () => {
    const template = Template.parse('user {id}@{kid}\ntopic readwrite {{{id}}}/#', 'acl');
    expect(renderOne({ format: 'template', template })).toBe('user 0000a1b2@11223344\ntopic readwrite {0000a1b2}/#\n');
  });

  it('is sorted by ID and empty without nodes', () => {
    const ids = ['ffffffff', '00000001', '0000a1b2', '10000000'];
    const text = renderFile(snapshotOf(...ids.map((id) => node(id))).generations(FILTER), PSK);
    expect(text.split('\n').map((line) => line.slice(0, 8))).toEqual([...ids.toSorted(), '']);
    expect(renderFile([], PSK)).toBe('');
  });

  it('of format stunnel is never empty, which stunnel would not read', () => {
    expect(renderFile([], { ...PSK, format: 'stunnel' })).toBe(`none:${PLACEHOLDER}\n`);
    expect(renderOne({ format: 'stunnel' })).toBe(`0000a1b2@11223344:${KEY}\n`);
  });

  it.each(['\n', ':', '"', ' ', '/', 'A', 'g'])('never has %j out of an ID, a KID or a key', (bad) => {
    const hostile = [
      node(`0000a1b${bad}`),
      node('0000a1b2', { kid: `1122334${bad}` }),
      node('0000a1b2', { keys: { [LABEL]: KEY.slice(1) + bad } }),
      node('0000a1b2', { keys: { [LABEL]: `${KEY}${bad}00000000:${KEY}` } }),
    ];
    for (const one of hostile) expectRefused(one);
  });

  it('is not made without the key of its label', () => {
    expectRefused(node('0000a1b2', { keys: {} }));
  });
});

function expectRefused(one: DeliveredNode): void {
  const generations = snapshotOf(one).generations(FILTER);
  for (const format of ['psk', 'hostapd', 'libcoap', 'jsonl'] as const)
    expect(() => renderFile(generations, { ...PSK, format })).toThrow(RangeError);
}

describe('the generations in use', () => {
  const former = [
    { kid: '00000002', keys: { [LABEL]: keyHex() }, notAfter: undefined, until: 105 * MINUTE },
    { kid: '00000003', keys: { [LABEL]: keyHex() }, notAfter: undefined, until: 101 * MINUTE },
    { kid: '00000004', keys: { [LABEL]: keyHex() }, notAfter: undefined, until: 100 * MINUTE },
  ];
  // The source keeps each for 15 minutes: the newest was replaced 10 minutes ago.
  const renewed = node('0000a1b2', { kid: '00000001', joinedAt: 90 * MINUTE }, former);
  const kids = (filter: Partial<typeof FILTER>, one = renewed): string[] =>
    snapshotOf(one)
      .generations({ ...FILTER, ...filter })
      .map(({ kid }) => kid);

  it('are the current one and the former ones within their overlap', () => {
    expect(kids({})).toEqual(['00000001', '00000002', '00000003']);
    expect(kids({ now: 101 * MINUTE })).toEqual(['00000001', '00000002']);
  });

  it('have a former one no longer than until its own expiry', () => {
    const [newest, ...older] = former;
    const expiring = { ...renewed, former: [{ ...newest!, notAfter: 100.5 * MINUTE }, ...older] };
    const generations = snapshotOf(expiring).generations(FILTER);
    expect(generations.find(({ kid }) => kid === '00000002')?.until).toBe(100.5 * MINUTE);
    expect(kids({ now: 100.5 * MINUTE }, expiring)).toEqual(['00000001', '00000003']);
  });

  it('are fewer with a shorter overlap', () => {
    expect(kids({ overlapMs: 11 * MINUTE })).toEqual(['00000001', '00000002']);
    expect(kids({ overlapMs: 10 * MINUTE })).toEqual(['00000001']);
    expect(kids({ overlapMs: 60 * MINUTE })).toEqual(['00000001', '00000002', '00000003']);
  });

  it('are only the current one if the identity does not name the generation', () => {
    expect(kids({ withFormer: false })).toEqual(['00000001']);
  });

  it('are none once the current key has expired', () => {
    const expired = { ...renewed, current: { ...renewed.current, notAfter: 100 * MINUTE } };
    expect(kids({}, expired)).toEqual([]);
    expect(kids({ now: 100 * MINUTE - 1 }, expired)).toHaveLength(4);
  });

  it('have the current one if a former one has its key ID', () => {
    const [first] = former;
    const twice = { ...renewed, former: [{ ...first!, kid: '00000001' }] };
    const generations = snapshotOf(twice).generations(FILTER);
    expect(generations).toHaveLength(1);
    expect(generations[0]?.isCurrent).toBe(true);
  });
});

describe('a template', () => {
  it.each([
    ['{name}', 'line 2: {name} is not a field'],
    ['{', 'line 2: { is not a field'],
    ['}', 'line 2: } is not a field'],
    ['{key', 'line 2: { is not a field'],
    ['{__proto__}', 'line 2: {__proto__} is not a field'],
  ])('with %s is refused with its line', (text, message) => {
    expect(() => Template.parse(`user {id}\n${text}`, '/etc/acl.tmpl')).toThrow(`/etc/acl.tmpl, ${message}`);
  });
});

it('an OSCORE context has the IDs of both sides, swapped at the node', () => {
  const keys = { [OSCORE_LABELS.secret]: KEY, [OSCORE_LABELS.salt]: KEY.slice(2) };
  const generations = snapshotOf(node('0000a1b2', { kid: '11223344', keys })).generations(FILTER);
  const settings = (role: 'node' | 'network'): unknown =>
    JSON.parse(oscoreContexts(generations, role)[0]?.files['settings.json'] ?? '');
  expect(settings('network')).toMatchObject({
    'sender-id_hex': '',
    'recipient-id_hex': '0000a1b2',
    'id-context_hex': '11223344',
  });
  expect(settings('node')).toMatchObject({ 'sender-id_hex': '0000a1b2', 'recipient-id_hex': '', 'id-context_hex': '11223344' });
});
