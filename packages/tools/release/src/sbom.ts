/**
 * What is in an artefact, in CycloneDX: the same document from every build, so without serial
 * number and time.
 */

import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { type Dependency, integrityOf, patchOf } from './dependency.js';

export async function sbom(artefact: string, version: string, dependencies: readonly Dependency[]): Promise<string> {
  const root = new Models.Component(Enums.ComponentType.Application, artefact, {
    version,
    bomRef: artefact,
    licenses: new Models.LicenseRepository([new Models.SpdxLicense('Apache-2.0')]),
  });
  const bom = new Models.Bom({ metadata: new Models.Metadata({ component: root }) });
  for (const dependency of dependencies) {
    const component = await componentOf(dependency);
    bom.components.add(component);
    root.dependencies.add(component.bomRef);
  }
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

async function componentOf(dependency: Dependency): Promise<Models.Component> {
  const { name, version, license } = dependency;
  const [algorithm, digest = ''] = (await integrityOf(dependency)).split('-', 2);
  const [, group, short = name] = /^(@[^/]+)\/(.+)$/.exec(name) ?? [];
  const patch = patchOf(dependency);
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return new Models.Component(Enums.ComponentType.Library, short, {
    ...(group === undefined ? {} : { group }),
    version,
    purl,
    bomRef: purl,
    licenses: new Models.LicenseRepository([
      / (?:OR|AND|WITH) /.test(license) ? new Models.LicenseExpression(license) : new Models.SpdxLicense(license),
    ]),
    // The hash is of what was published.
    properties: new Models.PropertyRepository(patch === undefined ? [] : [new Models.Property('latchkey:patch', patch)]),
    hashes: new Models.HashDictionary(
      algorithm === 'sha512' ? [[Enums.HashAlgorithm['SHA-512'], Buffer.from(digest, 'base64').toString('hex')]] : [],
    ),
  });
}
