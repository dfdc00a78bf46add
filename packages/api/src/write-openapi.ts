/** Writes the OpenAPI document of the API to the path in the first argument: `pnpm openapi`. */

import { writeFileSync } from 'node:fs';
import { openApiOf } from './openapi.js';
import { ROUTES } from './routes.js';

const [, , path = 'openapi.json'] = process.argv;
writeFileSync(path, `${JSON.stringify(openApiOf(ROUTES), null, 2)}\n`);
