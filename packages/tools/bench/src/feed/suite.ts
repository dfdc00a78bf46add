/**
 * `bench feed`: how soon a controller gives out what the registry says again, after it, its state
 * folder, its auth-server or the registry was lost; and how long one look-up takes.
 */

import { ratioMetric, type RatioMetric } from '../ratio.js';
import type { Depth, SuiteResult, SuiteRun } from '../suite.js';
import { measureEcho, measureLookups, type RoundTrips } from './lookups.js';
import { type Changes, LABEL, Plant } from './plant.js';
import { WatchedKeys } from './watched-keys.js';

const NODES: Readonly<Record<Depth, number>> = { quick: 1_000, full: 10_000, long: 10_000 };
/** What the design asks for, in ms. */
const MAX_MS = 15_000;
const MAX_LOOKUP_MS = 5;
const LOOKUPS = 2_000;
/** Nodes in an answer, and answers a second. */
const ENTRIES = 12;
const ANSWERS_PER_SECOND = 100;

interface Scenario {
  readonly what: string;
  /** Nodes that the controller is told of. */
  readonly told: number;
  /** Returns with the auth-server there, and the controller started. */
  readonly run: (plant: Plant) => Promise<void>;
}

export async function feedSuite({ depth, rounds, report }: SuiteRun): Promise<SuiteResult> {
  const nodes = NODES[depth];
  const scenarios = scenariosOf(nodes);
  const measured = new Map<string, number[]>(scenarios.map(({ what }) => [what, []]));
  const lookups: RoundTrips[] = [];
  const echoes: RoundTrips[] = [];
  for (let round = 0; round < rounds; round++) {
    report(`${nodes} nodes join`);
    const plant = await Plant.create(nodes);
    const watched = new WatchedKeys(plant.socket, LABEL);
    try {
      await plant.startAuthServer();
      await plant.startController();
      const expected = await plant.expected();
      await watched.become(expected);
      report('look-ups');
      lookups.push(await measureLookups(plant.socket, LABEL, [...expected.keys()], LOOKUPS));
      echoes.push(await measureEcho(plant.echoSocket, LOOKUPS));
      for (const { what, run } of scenarios) {
        report(what);
        await run(plant);
        const since = performance.now();
        await watched.become(await plant.expected());
        measured.get(what)?.push(performance.now() - since);
      }
    } finally {
      watched.close();
      await plant.killController();
      await plant.killAuthServer();
      await plant.remove();
    }
  }
  const figures = scenarios.map(({ what, told }): RatioMetric => {
    const values = measured.get(what) ?? [];
    const answers = Math.ceil(told / ENTRIES);
    const alone = (1_000 * answers) / ANSWERS_PER_SECOND;
    const baseline = { name: `${answers} answers, 100 a second`, values: values.map(() => alone) };
    return ratioMetric(what, 'ms', { name: `all of ${nodes} nodes right`, values }, baseline, { bound: MAX_MS });
  });
  const lookup = (name: keyof RoundTrips): RatioMetric =>
    ratioMetric(
      `a look-up through the socket: ${name}`,
      'ms',
      { name: `\`lookup\`, ${nodes} nodes`, values: lookups.map((one) => one[name]) },
      { name: 'a line to a process and back', values: echoes.map((one) => one[name]) },
      { bound: MAX_LOOKUP_MS },
    );
  return {
    figures: [...figures, lookup('p50'), lookup('p99')],
    remarks: [
      'Counted from when both daemons listen, with what the registry says read in between.',
      `Of ${LOOKUPS} look-ups, one after another, on one connection.`,
    ],
  };
}

function scenariosOf(nodes: number): readonly Scenario[] {
  const changes: Changes = { renewed: nodes / 10, revoked: nodes / 100 };
  const told = changes.renewed + 4 * changes.revoked;
  let backup = '';
  return [
    {
      what: 'the controller is killed, and nodes change before it is back',
      told,
      async run(plant) {
        await plant.killController();
        await plant.change(changes);
        await plant.startController();
      },
    },
    {
      what: 'the controller is killed, and its state folder is lost',
      told: nodes,
      async run(plant) {
        await plant.killController();
        await plant.loseState();
        await plant.startController();
      },
    },
    {
      what: 'the auth-server is killed, and nodes change before it is back',
      told,
      async run(plant) {
        backup = await plant.backup();
        await plant.killAuthServer();
        await plant.change(changes);
        await plant.startAuthServer();
      },
    },
    {
      what: 'the registry is restored from a backup from before these changes',
      told: nodes,
      async run(plant) {
        await plant.killAuthServer();
        await plant.restore(backup);
        await plant.startAuthServer();
      },
    },
  ];
}
