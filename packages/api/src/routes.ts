/** Every route of the API. */

import type { Route } from './route.js';
import { descriptionRoute } from './resources/description.js';
import { auditRoutes } from './resources/audit.js';
import { diagnosisRoutes } from './resources/diagnoses.js';
import { nodeRoutes } from './resources/nodes.js';
import { summaryRoutes } from './resources/summary.js';

const RESOURCES: readonly Route[] = [...summaryRoutes, ...nodeRoutes, ...diagnosisRoutes, ...auditRoutes];

export const ROUTES: readonly Route[] = [...RESOURCES, descriptionRoute(RESOURCES)];
