/** Writes the browser console to packages/console/dist, where the API serves it from. */

import { fileURLToPath } from 'node:url';
import { bundleConsole } from './console-bundle.js';
import { updateFolder } from './update-folder.js';

const { files } = await bundleConsole();
// The page is the first of them, and is written last: it names the others.
await updateFolder(fileURLToPath(new URL('../../../console/dist', import.meta.url)), new Map([...files].toReversed()));
