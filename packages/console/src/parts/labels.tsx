/** Labels of nodes, drawn in the page from the opened manifest, and printed by the browser. */

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { formatLabelText, labelInCapitals } from '@latchkey/provisioning/label-text';
import type { QrCode } from '@latchkey/provisioning/qr-code';
import { formatNumber } from '../format.js';
import type { OpenedManifest } from '../opened-manifest.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';

/** `sheet`: labels that peel off, 3 by 7. The stylesheet has a page for each. */
const FORMATS = ['a4', 'sheet', 'roll'] as const;
type Format = (typeof FORMATS)[number];

/** Labels in the page at once: some 40 sheets. */
const MAX_PART = 960;

interface LabelsProps {
  readonly manifest: OpenedManifest;
  readonly order: number;
  readonly installer: string;
  readonly site: string | null;
}

interface DrawnLabel {
  readonly id: string;
  readonly controllerId: string;
  readonly controller: string;
  /** The key is in here and nowhere else. */
  readonly code: QrCode;
}

export function Labels({ manifest, order, installer, site }: LabelsProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const [format, setFormat] = useState<Format>('a4');
  const [from, setFrom] = useState(0);
  const [labels, setLabels] = useState<readonly DrawnLabel[]>();
  const [isUnreachable, setUnreachable] = useState(false);
  useEffect(() => {
    let isCurrent = true;
    const draw = async (): Promise<void> => {
      // The library that draws codes is loaded with the first of them.
      const library = await import('@latchkey/provisioning/qr-code').catch(() => undefined);
      if (!isCurrent) return;
      setUnreachable(library === undefined);
      if (library !== undefined) setLabels(drawLabels(manifest, from, library.drawQrCode));
    };
    setLabels(undefined);
    void draw();
    return () => {
      isCurrent = false;
    };
  }, [manifest, from]);
  const parts = Array.from({ length: Math.ceil(manifest.length / MAX_PART) }, (_, index) => index * MAX_PART);
  return (
    <section class={`labels ${format}`} aria-labelledby="labels-title">
      <header class="page-head">
        <h2 id="labels-title">{say('labels.title')}</h2>
        <label>
          {say('labels.format')}{' '}
          <select value={format} onChange={(event) => setFormat(FORMATS[event.currentTarget.selectedIndex] ?? 'a4')}>
            {FORMATS.map((one) => (
              <option key={one} value={one} selected={one === format}>
                {say(`labels.format-${one}`)}
              </option>
            ))}
          </select>
        </label>
        {parts.length > 1 && (
          <label>
            {say('labels.part')}{' '}
            <select onChange={(event) => setFrom(parts[event.currentTarget.selectedIndex] ?? 0)}>
              {parts.map((start) => (
                <option key={start} value={start} selected={start === from}>
                  {say('labels.part-of', {
                    from: formatNumber(start + 1, locale),
                    to: formatNumber(Math.min(start + MAX_PART, manifest.length), locale),
                  })}
                </option>
              ))}
            </select>
          </label>
        )}
        <button type="button" class="primary" disabled={labels === undefined} onClick={() => print()}>
          {say('labels.print', {}, labels?.length ?? 0)}
        </button>
      </header>
      <header class="sheet-head">
        <strong>{say('labels.head', { order: String(order), installer })}</strong>
        <p>{say('labels.secret')}</p>
      </header>
      {labels === undefined ? (
        <p class="quiet">{say(isUnreachable ? 'problem.unreachable' : 'labels.drawing')}</p>
      ) : (
        <ul>
          {labels.map((label) => (
            <li key={label.id}>
              <Label label={label} site={site} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function drawLabels(manifest: OpenedManifest, from: number, draw: (text: string) => QrCode): readonly DrawnLabel[] {
  const count = Math.min(MAX_PART, manifest.length - from);
  return Array.from({ length: count }, (_, index) => {
    const line = manifest.line(from + index);
    const { id, controllerId, controller } = line;
    return { id, controllerId, controller, code: draw(labelInCapitals(formatLabelText(line))) };
  });
}

interface LabelProps {
  readonly label: DrawnLabel;
  readonly site: string | null;
}

function Label({ label: { id, controllerId, controller, code }, site }: LabelProps): JSX.Element {
  const say = useSay();
  return (
    <article>
      <svg role="img" aria-label={say('labels.code', { id })} viewBox={`0 0 ${code.size} ${code.size}`}>
        <path d={code.path} />
      </svg>
      <dl>
        <dt>{say('entry.node')}</dt>
        <dd class="id">{id}</dd>
        {site !== null && <dd>{site}</dd>}
        <dt>{say('nodes.controller')}</dt>
        <dd class="id">{controllerId}</dd>
        <dd class="id">{controller}</dd>
      </dl>
    </article>
  );
}
