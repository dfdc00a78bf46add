/**
 * Installers, and the recipients that a caller may put into a request for keys. The API takes no
 * recipient from here by itself (docs/decisions/0051).
 */

import {
  call,
  type InstallerContext,
  installerPlace,
  installersAdd,
  installersList,
  installersRemove,
  installersSet,
  installersShow,
} from '@latchkey/operations';
import {
  changesInstaller,
  INSTALLER_CHANGE_EXPECTED,
  installerAddFields,
  installerInputFields,
  installerSchema as contractSchema,
  installerSetFields,
  nameSchema,
} from '@latchkey/operations/contract';
import { z } from 'zod';
import { requireFreshSignIn, requireScope } from '../access.js';
import { operationContext } from '../operation-context.js';
import { pageOf } from '../pages.js';
import { defineRoute, type Route, type RouteContext } from '../route.js';
import { cursorSchema, limitSchema, pageSchema } from '../schemas.js';
import { installerVersion, versionOfInstaller } from '../versions.js';
import { requireAllowedRecipients, requireRecipients } from './key-job.js';

const installerSchema = contractSchema.meta({ id: 'Installer' });

const KEYS_TOO =
  'Recipients need the scope `keys` in addition, and in a browser a password that was given in the last five minutes.';

/** A change of the operation named `kind`, by the caller. */
function changeContext(context: RouteContext, kind: string): InstallerContext {
  return {
    ...operationContext(context),
    installers: context.installers,
    async authorize({ before, changesRecipients, gained }) {
      const { principal } = context;
      if (before !== undefined) context.requireVersion(versionOfInstaller(before));
      if (!changesRecipients) return;
      requireScope(principal, 'keys', 'Recipients of an installer decide who can open keys.');
      requireFreshSignIn(principal);
      await requireAllowedRecipients(context, kind, gained);
    },
  };
}

const list = defineRoute({
  name: installersList.name,
  summary: 'List installers',
  description: 'In ascending order of name.',
  scope: installersList.scope,
  path: '/v1/installers',
  input: z.strictObject({
    name: nameSchema.optional().describe('The installer of exactly this name'),
    limit: limitSchema,
    after: cursorSchema,
  }),
  output: pageSchema(installerSchema, 'Installers'),
  async run(context, { name, ...page }) {
    const { items } = await call(installersList, { ...operationContext(context), installers: context.installers }, { name });
    return pageOf(context, `${installersList.name} ${JSON.stringify(name ?? null)}`, items, installerPlace, page);
  },
});

const show = defineRoute({
  name: installersShow.name,
  summary: 'Show one installer',
  scope: installersShow.scope,
  path: '/v1/installers/:installer',
  input: z.strictObject(installerInputFields),
  version: installerVersion,
  output: installerSchema,
  run: (context, input) => call(installersShow, { ...operationContext(context), installers: context.installers }, input),
});

const add = defineRoute({
  method: 'POST',
  name: installersAdd.name,
  summary: 'Add an installer',
  description: `Under the name that orders have. ${KEYS_TOO}`,
  scope: installersAdd.scope,
  path: '/v1/installers',
  input: z.strictObject(installerAddFields),
  output: installerSchema,
  async run(context, input) {
    await requireRecipients(input.recipients);
    return call(installersAdd, changeContext(context, installersAdd.name), input);
  },
});

const change = defineRoute({
  method: 'PATCH',
  name: installersSet.name,
  summary: 'Change how an installer is reached, or whom its keys are encrypted to',
  description: `The name stays. ${KEYS_TOO} The audit log has the recipients that are new, and those that are gone.`,
  scope: installersSet.scope,
  path: '/v1/installers/:installer',
  input: z
    .strictObject({ ...installerInputFields, ...installerSetFields })
    .refine(changesInstaller, { error: INSTALLER_CHANGE_EXPECTED }),
  version: installerVersion,
  output: installersSet.output,
  async run(context, input) {
    await requireRecipients(input.recipients);
    return call(installersSet, changeContext(context, installersSet.name), input);
  },
});

const remove = defineRoute({
  method: 'DELETE',
  name: installersRemove.name,
  summary: 'Remove an installer',
  description: `Its orders stay. ${KEYS_TOO}`,
  scope: installersRemove.scope,
  path: '/v1/installers/:installer',
  input: z.strictObject(installerInputFields),
  version: installerVersion,
  output: installersRemove.output,
  run: (context, input) => call(installersRemove, changeContext(context, installersRemove.name), input),
});

export const installerRoutes: readonly Route[] = [list, show, add, change, remove];
