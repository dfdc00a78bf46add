import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Dependency, licenseFiles } from './dependency.js';

/** Who else has written what is in here, and under which terms: their own words. */
export function notices(dependencies: readonly Dependency[]): string {
  const parts = dependencies.map((dependency) => {
    const texts = licenseFiles(dependency).map((file) => readFileSync(join(dependency.folder, file), 'utf8').trim());
    const words = texts.length === 0 ? [`${dependency.license}; the package has no text of it.`] : texts;
    return [`${dependency.name} ${dependency.version} (${dependency.license})`, ...words].join('\n\n');
  });
  const rule = `\n\n${'-'.repeat(72)}\n\n`;
  return `Latchkey contains parts of these packages, under the terms below.${rule}${parts.join(rule)}\n`;
}
