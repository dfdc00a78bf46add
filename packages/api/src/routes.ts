/** Every route of the API. */

import type { Route } from './route.js';
import { descriptionRoute } from './resources/description.js';
import { auditRoutes } from './resources/audit.js';
import { clockRoutes } from './resources/clock.js';
import { controllerRoutes } from './resources/controllers.js';
import { diagnosisRoutes } from './resources/diagnoses.js';
import { eventRoutes } from './resources/events.js';
import { exposureRoutes } from './resources/exposure.js';
import { jobRoutes } from './resources/jobs.js';
import { installerRoutes } from './resources/installers.js';
import { importRoutes } from './resources/imports.js';
import { keyFileRoutes } from './resources/key-files.js';
import { nodeChangeRoutes } from './resources/node-changes.js';
import { nodeExportRoutes } from './resources/node-exports.js';
import { nodeRoutes } from './resources/nodes.js';
import { orderRoutes } from './resources/orders.js';
import { summaryRoutes } from './resources/summary.js';
import { waitingRoutes } from './resources/waiting.js';

const RESOURCES: readonly Route[] = [
  ...summaryRoutes,
  ...nodeRoutes,
  ...nodeChangeRoutes,
  ...diagnosisRoutes,
  ...orderRoutes,
  ...installerRoutes,
  ...exposureRoutes,
  ...controllerRoutes,
  ...waitingRoutes,
  ...clockRoutes,
  ...auditRoutes,
  ...jobRoutes,
  ...keyFileRoutes,
  ...nodeExportRoutes,
  ...importRoutes,
  ...eventRoutes,
];

export const ROUTES: readonly Route[] = [...RESOURCES, descriptionRoute(RESOURCES)];
