/** Pages that are no part of the first page, with their texts. */

import type { JSX } from 'preact';
import { ADMINISTRATION_STRINGS } from '../strings/administration.js';
import { addStrings } from '../strings/index.js';
import { INSTALL_STRINGS } from '../strings/install.js';
import type { LaterPage } from '../url-state.js';
import { AccountPage } from './account.js';
import { AuditPage } from './audit.js';
import { CalendarPage } from './calendar.js';
import { CodePage } from './code.js';
import { ExposurePage } from './exposure.js';
import { InstallPage } from './install.js';
import { InstallersPage } from './installers.js';
import { JobsPage } from './jobs.js';
import { NewOrderPage } from './new-order.js';
import { TokensPage } from './tokens.js';
import { UsersPage } from './users.js';
import { WaitingPage } from './waiting.js';

addStrings(ADMINISTRATION_STRINGS);
addStrings(INSTALL_STRINGS);

export const LATER_PAGES: Readonly<Record<LaterPage, () => JSX.Element>> = {
  account: AccountPage,
  audit: AuditPage,
  calendar: CalendarPage,
  code: CodePage,
  exposure: ExposurePage,
  install: InstallPage,
  installers: InstallersPage,
  jobs: JobsPage,
  'new-order': NewOrderPage,
  tokens: TokensPage,
  users: UsersPage,
  waiting: WaitingPage,
};
