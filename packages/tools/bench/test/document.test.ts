// Proves that what a run writes into the documents is as they are: prose of 100 columns at most.

import { expect, it } from 'vitest';
import { fillTables } from '../src/document.js';
import type { Report } from '../src/report.js';

const WORDS = Array.from({ length: 60 }, (_, i) => `word${i}`).join(' ');

it('wraps prose, and leaves tables as they are', () => {
  const report: Report = {
    suites: [{ suite: 'air', figures: [], tables: [{ title: 'A table', head: [WORDS], rows: [[WORDS]] }], remarks: [WORDS] }],
    machine: {
      processor: 'A processor of a long name',
      cores: 2,
      memoryMiB: 24_105,
      system: 'Linux 6.18.44 x64',
      node: 'v20.20.2',
    },
    load: [1.4, 1.1],
    depth: 'full',
    date: '2026-11-30T08:00:00Z',
    rounds: 5,
  };
  const document = fillTables('Before.\n\n<!-- bench air -->\n<!-- end -->\n\nAfter.\n', report);
  const prose = document.split('\n').filter((line) => !line.startsWith('|'));
  expect(Math.max(...prose.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(prose.join(' ')).toContain(WORDS);
  expect(document).toContain(`\n| ${WORDS} |\n`);
  expect(document).toMatch(/^Before\.\n/);
  expect(document).toMatch(/\nAfter\.\n$/);
});
