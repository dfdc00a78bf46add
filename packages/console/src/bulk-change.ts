/** Changes of many nodes: which nodes, which change, and what would undo it. */

import type { ManyNodesChange, NodeSelection, NodeView } from '@latchkey/operations/contract';
import type { NodeFilters } from './url-state.js';

/** Nodes that the page names one by one. Their change can be undone; that of more cannot. */
export const MAX_NAMED = 1_000;

const DAY_MS = 86_400_000;
const ID = /^[0-9a-f]{1,8}$/;
/** Not `1.000`, which is one or a thousand, by the language. */
const DAYS = /^(?:\d{1,5}(?:\.\d{1,2})?|0\.\d{1,3})$/;

export type BulkKind = 'disable' | 'enable' | 'move' | 'set' | 'tag' | 'site' | 'remove';

/** As it was typed. */
export interface BulkInput {
  readonly controller: string;
  /** Of a key, in days; empty to leave it. */
  readonly lifetime: string;
  readonly grace: string;
  readonly tag: string;
  readonly takesTagAway: boolean;
  readonly site: string;
  readonly takesSiteAway: boolean;
  /** Confirms a removal. */
  readonly typed: string;
}

export const EMPTY_INPUT: BulkInput = {
  controller: '',
  lifetime: '',
  grace: '',
  tag: '',
  takesTagAway: false,
  site: '',
  takesSiteAway: false,
  typed: '',
};

/** Returns `undefined` while something is missing, or wrong. */
export function changeOf(kind: BulkKind, input: BulkInput): ManyNodesChange | undefined {
  switch (kind) {
    case 'move': {
      const id = input.controller.trim().toLowerCase();
      return ID.test(id) ? { kind, to: id.padStart(8, '0') } : undefined;
    }
    case 'set': {
      const [lifetime, grace] = [secondsOf(input.lifetime), secondsOf(input.grace)];
      if (lifetime === 'invalid' || grace === 'invalid' || (lifetime ?? grace) === undefined) return undefined;
      return {
        kind,
        ...(lifetime === undefined ? {} : { lifetime_seconds: lifetime }),
        ...(grace === undefined ? {} : { grace_seconds: grace }),
      };
    }
    case 'tag': {
      const tag = input.tag.trim();
      if (tag === '') return undefined;
      return { kind: 'describe', description: input.takesTagAway ? { remove_tags: [tag] } : { add_tags: [tag] } };
    }
    case 'site': {
      const site = input.takesSiteAway ? null : input.site.trim();
      return site === '' ? undefined : { kind: 'describe', description: { site } };
    }
    default:
      return { kind };
  }
}

/** Fields that have something in them that cannot be read. */
export function wrongFields({ controller, lifetime, grace }: BulkInput): readonly ('controller' | 'lifetime' | 'grace')[] {
  return [
    ...(controller.trim() === '' || ID.test(controller.trim().toLowerCase()) ? [] : (['controller'] as const)),
    ...(secondsOf(lifetime) === 'invalid' ? (['lifetime'] as const) : []),
    ...(secondsOf(grace) === 'invalid' ? (['grace'] as const) : []),
  ];
}

function secondsOf(days: string): number | undefined | 'invalid' {
  const text = days.trim().replace(',', '.');
  if (text === '') return undefined;
  return DAYS.test(text) ? Math.round(Number(text) * (DAY_MS / 1_000)) : 'invalid';
}

/**
 * Returns the selection of the API for all nodes under the filters. Returns `undefined` if the API
 * has no such filter: it requires one, and accepts only one order and one controller.
 */
export function selectionOf(filters: NodeFilters, now: number): NodeSelection | undefined {
  const { state, order, controller, neverJoined, expiresInDays, expires, starts, site, tag, q } = filters;
  if (order.length > 1 || controller.length > 1) return undefined;
  const selection: NodeSelection = {
    ...(state.length === 0 ? {} : { state }),
    ...(order[0] === undefined ? {} : { order: Number(order[0]) }),
    ...(controller[0] === undefined ? {} : { controller: controller[0] }),
    ...(neverJoined ? { never_joined: true } : {}),
    ...(expiresInDays === undefined ? {} : { expires_before: new Date(now + expiresInDays * DAY_MS).toISOString() }),
    ...(expires?.from === undefined || expires.from === null ? {} : { expires_from: expires.from }),
    ...(expires?.before === undefined || expires.before === null ? {} : { expires_before: expires.before }),
    ...(starts === '' ? {} : { id_prefix: starts }),
    ...(site.length === 0 ? {} : { site }),
    ...(tag.length === 0 ? {} : { tag }),
    ...(q === '' ? {} : { search: q }),
  };
  return Object.keys(selection).length === 0 ? undefined : selection;
}

/** One change of the same nodes that takes another one back. */
export interface Inverse {
  readonly ids: readonly string[];
  readonly change: ManyNodesChange;
}

/**
 * Returns the change that undoes this one for the nodes that it changes. Returns `undefined` if
 * none exists, or if the nodes had different values before.
 */
export function inverseOf(change: ManyNodesChange, nodes: readonly NodeView[]): Inverse | undefined {
  switch (change.kind) {
    case 'disable':
      return ofAffected(
        nodes,
        ({ state }) => state !== 'disabled',
        () => ({ kind: 'enable' }),
      );
    case 'enable':
      return ofAffected(
        nodes,
        ({ state }) => state === 'disabled',
        () => ({ kind: 'disable' }),
      );
    case 'move':
      return ofAffected(
        nodes,
        ({ controller }) => controller !== change.to,
        ({ controller }) => ({ kind: 'move', to: controller }),
      );
    case 'set':
      return inverseOfSet(change, nodes);
    case 'describe':
      return inverseOfTags(change, nodes);
    default:
      return undefined;
  }
}

function inverseOfSet(
  { lifetime_seconds: lifetime, grace_seconds: grace }: Extract<ManyNodesChange, { kind: 'set' }>,
  nodes: readonly NodeView[],
): Inverse | undefined {
  return ofAffected(
    nodes,
    (node) =>
      (lifetime !== undefined && node.lifetime_seconds !== lifetime) || (grace !== undefined && node.grace_seconds !== grace),
    (node) => ({
      kind: 'set',
      ...(lifetime === undefined ? {} : { lifetime_seconds: node.lifetime_seconds }),
      ...(grace === undefined ? {} : { grace_seconds: node.grace_seconds }),
    }),
  );
}

/** Of one tag. A site has no inverse: it may be that of the order, and the page cannot see that. */
function inverseOfTags(
  { description }: Extract<ManyNodesChange, { kind: 'describe' }>,
  nodes: readonly NodeView[],
): Inverse | undefined {
  const { add_tags: added = [], remove_tags: removed = [], ...others } = description;
  const [tag] = [...added, ...removed];
  if (tag === undefined || added.length + removed.length > 1 || Object.keys(others).length > 0) return undefined;
  const isAdded = added.length > 0;
  return ofAffected(
    nodes,
    ({ tags }) => tags.includes(tag) !== isAdded,
    () => ({ kind: 'describe', description: isAdded ? { remove_tags: [tag] } : { add_tags: [tag] } }),
  );
}

/** The inverse of each affected node, if it is the same for all of them. */
function ofAffected(
  nodes: readonly NodeView[],
  isAffected: (node: NodeView) => boolean,
  inverse: (node: NodeView) => ManyNodesChange,
): Inverse | undefined {
  const affected = nodes.filter(isAffected);
  const [change, ...others] = new Map(affected.map(inverse).map((one) => [JSON.stringify(one), one])).values();
  return change === undefined || others.length > 0 ? undefined : { ids: affected.map(({ id }) => id), change };
}
