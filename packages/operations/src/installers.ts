/**
 * Installers and the age recipients that their keys are encrypted to (docs/decisions/0051). They
 * are in a store of the API, not in the registry. The audit log names an installer by its ID.
 */

import { randomBytes } from 'node:crypto';
import { checkRecipients } from '@latchkey/provisioning';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import * as contract from './contract/installers.js';
import type {
  InstallerAddInput,
  InstallerChange,
  InstallerInput,
  InstallerList,
  InstallerListInput,
  InstallerSetInput,
  InstallerView,
  RemovedInstaller,
} from './contract/installers.js';
import { describeRecipients } from './key-recipients.js';
import { type Context, implement, type Operation } from './operation.js';

const ID_OCTETS = 8;
/** Characters of a name in its place in the list: a cursor has a limited length. */
const PLACE_LENGTH = 40;

/** Times are ms since the epoch. */
export interface StoredInstaller {
  readonly id: string;
  readonly name: string;
  readonly contact: string | null;
  readonly site: string | null;
  readonly note: string | null;
  readonly recipients: readonly string[];
  /** When and by whom the recipients were last changed; `null` if none was ever stored. */
  readonly recipientsChanged: { readonly at: number; readonly by: string } | null;
  readonly createdAt: number;
  /** Increases with each change. */
  readonly revision: number;
}

/** Storage of installers. Each change is one transaction. */
export interface InstallerStore {
  /** In any order. Sees what another process wrote before. */
  readonly list: () => readonly StoredInstaller[];
  readonly find: (id: string) => StoredInstaller | undefined;
  readonly findByName: (name: string) => StoredInstaller | undefined;
  /** @throws UsageFailure if the name is taken, or there are too many installers */
  readonly requireRoom: (name: string) => void;
  /** Requires room again. */
  readonly add: (installer: StoredInstaller) => Promise<void>;
  /** Returns false, and changes nothing, if the stored installer is not `before` any more. */
  readonly replace: (before: StoredInstaller, after: StoredInstaller) => Promise<boolean>;
  /** Returns false, and changes nothing, if the stored installer is not `before` any more. */
  readonly remove: (before: StoredInstaller) => Promise<boolean>;
}

/** A change that somebody asks for. */
export interface InstallerIntent {
  /** `undefined` if the installer is new. */
  readonly before: StoredInstaller | undefined;
  /** Whether keys are for others after it, or may be. */
  readonly changesRecipients: boolean;
  /** Recipients that the installer does not have yet. */
  readonly gained: readonly string[];
}

export interface InstallerContext extends Context {
  readonly installers: InstallerStore;
  /** Called before anything is changed. Throws if the caller may not make the change. */
  readonly authorize?: ((intent: InstallerIntent) => void | Promise<void>) | undefined;
}

/** @param which the name, or the ID */
export function installerNotFound(which: string): NotFound {
  return new NotFound(`there is no installer ${which}`, {
    advice: 'List them:',
    run: [['latchkey-auth-server', 'installer', 'list']],
  });
}

function find({ installers }: InstallerContext, id: string): StoredInstaller {
  const installer = installers.find(id);
  if (installer === undefined) throw installerNotFound(id);
  return installer;
}

export const installersList: Operation<InstallerListInput, InstallerList, InstallerContext> = implement(
  contract.installersList,
  ({ installers }: InstallerContext, { name }) => {
    const found = name === undefined ? installers.list() : [installers.findByName(name)].filter((one) => one !== undefined);
    return { items: found.map(view).toSorted((a, b) => (installerPlace(a) < installerPlace(b) ? -1 : 1)) };
  },
);

export const installersShow: Operation<InstallerInput, InstallerView, InstallerContext> = implement(
  contract.installersShow,
  (context: InstallerContext, { installer }) => view(find(context, installer)),
);

export const installersAdd: Operation<InstallerAddInput, InstallerView, InstallerContext> = implement(
  contract.installersAdd,
  async (
    { installers, registry, clock, actor, authorize }: InstallerContext,
    { name, contact = null, site = null, note = null, recipients: given = [] },
  ) => {
    const recipients = await checked(given);
    await authorize?.({ before: undefined, changesRecipients: recipients.length > 0, gained: recipients });
    installers.requireRoom(name);
    const at = clock().wallMs;
    const id = randomBytes(ID_OCTETS).toString('hex');
    const recipientsChanged = recipients.length === 0 ? null : { at, by: actor };
    const installer = { id, name, contact, site, note, recipients, recipientsChanged, createdAt: at, revision: 1 };
    // The log has it before it counts.
    const keysFor = recipients.length === 0 ? '' : `; keys for ${describeRecipients(recipients)}`;
    await registry.record({ what: 'installer added', note: `installer ${id}${keysFor}` });
    await installers.add(installer);
    return view(installer);
  },
);

export const installersSet: Operation<InstallerSetInput, InstallerChange, InstallerContext> = implement(
  contract.installersSet,
  async (context: InstallerContext, { installer: id, recipients: given, ...texts }) => {
    const { installers, registry, clock, actor, authorize } = context;
    const recipients = given && (await checked(given));
    const before = find(context, id);
    const gained = without(recipients ?? before.recipients, before.recipients);
    const lost = without(before.recipients, recipients ?? before.recipients);
    const isFor = gained.length + lost.length > 0;
    await authorize?.({ before, changesRecipients: recipients !== undefined, gained });
    const { contact = before.contact, site = before.site, note = before.note } = texts;
    const isDescribed = contact !== before.contact || site !== before.site || note !== before.note;
    if (!isFor && !isDescribed) return { changed: false, ...view(before) };
    const after: StoredInstaller = {
      ...before,
      contact,
      site,
      note,
      ...(isFor && recipients !== undefined
        ? { recipients, recipientsChanged: { at: clock().wallMs, by: actor } }
        : { recipients: before.recipients }),
      revision: before.revision + 1,
    };
    const record = async (): Promise<void> => {
      if (isDescribed) await registry.record({ what: 'installer changed', note: `installer ${id}` });
      if (!isFor) return;
      const parts = [
        ...(gained.length === 0 ? [] : [`keys for ${describeRecipients(gained)}`]),
        ...(lost.length === 0 ? [] : [`no keys for ${describeRecipients(lost)}`]),
      ];
      await registry.record({ what: 'installer recipients changed', note: `installer ${id}: ${parts.join('; ')}` });
    };
    // A right that only ends does not wait for the log. All else is in the log before it counts.
    const isWithdrawal = isFor && gained.length === 0;
    if (!isWithdrawal) await record();
    if (!(await installers.replace(before, after))) throw changedMeanwhile(before);
    if (isWithdrawal) await record();
    return { changed: true, ...view(after) };
  },
);

export const installersRemove: Operation<InstallerInput, RemovedInstaller, InstallerContext> = implement(
  contract.installersRemove,
  async (context: InstallerContext, { installer: id }) => {
    const { installers, registry, authorize } = context;
    const before = find(context, id);
    const { name, recipients } = before;
    await authorize?.({ before, changesRecipients: recipients.length > 0, gained: [] });
    // Takes effect first: a right that ends does not wait for the log.
    if (!(await installers.remove(before))) throw changedMeanwhile(before);
    const keysFor = recipients.length === 0 ? '' : `; no keys for ${describeRecipients(recipients)}`;
    await registry.record({ what: 'installer removed', note: `installer ${id}${keysFor}` });
    return { id, name };
  },
);

/** @throws UsageFailure for a text that is no recipient */
async function checked(recipients: readonly string[]): Promise<readonly string[]> {
  if (recipients.length > 0) await checkRecipients(recipients);
  return [...new Set(recipients)];
}

function without(recipients: readonly string[], others: readonly string[]): readonly string[] {
  return recipients.filter((recipient) => !others.includes(recipient));
}

function changedMeanwhile({ name }: StoredInstaller): UsageFailure {
  return new UsageFailure(`installer ${name} was changed at the same moment`, {
    advice: 'Nothing was changed. Look at it, and try again:',
    run: [['latchkey-auth-server', 'installer', 'show', name]],
  });
}

/** Sorts lists, on every machine the same. */
export function installerPlace({ name, id }: Pick<InstallerView, 'name' | 'id'>): string {
  return `${name.slice(0, PLACE_LENGTH)}\n${id}`;
}

function view({ id, name, contact, site, note, recipients, recipientsChanged, createdAt }: StoredInstaller): InstallerView {
  return {
    id,
    name,
    contact,
    site,
    note,
    recipients,
    recipients_changed_at: recipientsChanged === null ? null : isoTime(recipientsChanged.at),
    recipients_changed_by: recipientsChanged?.by ?? null,
    created_at: isoTime(createdAt),
  };
}
