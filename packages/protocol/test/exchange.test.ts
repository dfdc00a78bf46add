// Proves the three roles together, with no socket: a join and a renewal, then invariants 1 to 3
// whatever is lost, doubled, delayed, reordered, tampered with or restarted at any step, and that
// the node joins once that stops. A failure prints its seed.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TYPE } from '../src/constants.js';
import { backOff } from '../src/initiator.js';
import { scheduleRenewal } from '../src/renewal.js';
import { CONTROLLERS, type Event, type Message, World } from './world.js';

/** One attempt with everything delivered once. */
function attempt(world: World, idC: number): void {
  const at = world.messages.length;
  world.begin(idC);
  world.deliverAllFrom(at);
  world.check();
}

function expectJoined({ node, record }: World): void {
  expect(node).toMatchObject({ confirmed: record.key, initial: false, candidates: [] });
}

/**
 * Attempts after one another with nothing lost, waiting in between as a node does, until it has
 * joined.
 */
function joinsWithin(attempts: number, world: World): boolean {
  world.restartNode();
  const before = world.events.length;
  for (let failures = 1; failures <= attempts; failures++) {
    attempt(world, world.record.controller);
    if (world.events.lastIndexOf('joined') >= before) return true;
    world.tick(Math.max(world.waitMs, backOff(failures, 0.99)));
  }
  return false;
}

const isOf =
  (type: number) =>
  (message: Message): boolean =>
    message.to !== 'store' && message.octets[0] === type;
const [isM4, isM5, isM6] = [isOf(TYPE.M4), isOf(TYPE.M5), isOf(TYPE.M6)];
const isWrite = (message: Message): boolean => message.to === 'store';

/** One attempt until such a letter is in the post, which is not delivered. */
function beginUpTo(world: World, wanted: (message: Message) => boolean): Message {
  let next = world.messages.length;
  world.begin(1);
  for (; !wanted(world.messages.at(-1)!); next++) world.deliver(world.messages[next]!);
  return world.messages.at(-1)!;
}

describe('one exchange after the other', () => {
  it('a node joins, then renews: eight messages and one write each', () => {
    const world = new World({ lifetime: 1000 });
    const initial = world.record.key;
    attempt(world, 1);
    expectJoined(world);
    const first = world.record.key;
    expect(first.equals(initial)).toBe(false);

    world.tick(scheduleRenewal(1000, () => 0.5)!.afterMs);
    attempt(world, 1);
    expectJoined(world);
    expect(world.record.key.equals(first)).toBe(false);
    expect(world.events).toEqual(['stored', 'committed', 'joined', 'stored', 'committed', 'joined']);
    const route = ['controller', 'server', 'link', 'node', 'controller', 'server', 'store', 'link', 'node'];
    expect(world.messages.map(({ to }) => to)).toEqual([...route, ...route]);
  });

  it('a controller the node is not assigned to gets no key, and the node holds on to its own', () => {
    const world = new World();
    attempt(world, 2);
    expect(world.node).toMatchObject({ initial: true, candidates: [] });
    world.reassign(2);
    attempt(world, 2);
    expectJoined(world);
  });

  it.each([1, 2, 3, 4])('%i commits in a row whose M6 is lost leave a node that still joins', (losses) => {
    const world = new World();
    for (let n = 0; n < losses; n++) {
      const at = world.messages.length;
      world.begin(1);
      for (let next = at; next < world.messages.length; next++)
        if (!isM6(world.messages[next]!)) world.deliver(world.messages[next]!);
      world.check();
    }
    expect(world.node.candidates).toHaveLength(1);
    world.tick(60_000);
    attempt(world, 1);
    expectJoined(world);
    expect(world.events.filter((event) => event === 'promoted')).toHaveLength(losses);
  });

  it('four M5s that never arrive make the node wait until the oldest can no longer be committed', () => {
    const world = new World();
    for (let n = 0; n < 4; n++) {
      beginUpTo(world, isM5);
      world.tick(60_000);
    }
    expect(world.node.candidates).toHaveLength(4);
    attempt(world, 1);
    expect(world.waitMs).toBe(60_000);
    world.tick(world.waitMs);
    attempt(world, 1);
    expectJoined(world);
    expect(world.events.slice(-4)).toEqual(['waited', 'replaced', 'committed', 'joined']);
  });

  it('an M4 held back until the oldest candidate is old does not displace it, for it may be committed by then', () => {
    const world = new World();
    const write = beginUpTo(world, isWrite);
    for (let n = 0; n < 3; n++) beginUpTo(world, isM5);
    const delayed = beginUpTo(world, isM4);
    world.deliver(write);
    world.tick(300_000);
    world.deliver(delayed);
    world.check();
    expect(world.events.slice(-2)).toEqual(['committed', 'waited']);
    attempt(world, 1);
    expectJoined(world);
  });

  it('two M7s under one K_i: one is committed, the other loses the comparison and then the proof', () => {
    const world = new World();
    const first = beginUpTo(world, isWrite);
    world.tick(10_000);
    const second = beginUpTo(world, isWrite);
    const at = world.messages.length;
    for (const write of [second, first]) world.deliver(write);
    expect(world.events.slice(-2)).toEqual(['committed', 'lost comparison']);
    world.check();
    world.deliverAllFrom(at);
    expectJoined(world);
  });
});

describe('whatever happens', () => {
  const idC = fc.constantFrom(1, 1, 1, 2);
  const deep = fc.nat({ max: 10 });
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ begin: idC, letters: deep }) },
    { weight: 8, arbitrary: fc.record({ deliver: fc.constant(0) }) },
    { weight: 6, arbitrary: fc.record({ deliver: fc.nat({ max: 40 }) }) },
    { weight: 1, arbitrary: fc.record({ tamper: fc.nat({ max: 3 }), bit: fc.nat() }) },
    { weight: 3, arbitrary: fc.record({ tick: fc.constantFrom(1000, 20_000, 61_000, 300_000) }) },
    { weight: 1, arbitrary: fc.record({ restart: fc.constantFrom(0, ...CONTROLLERS) }) },
    { weight: 1, arbitrary: fc.record({ reassign: idC }) },
  );
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  function take(world: World, given: Step): void {
    const back = (n: number): Message | undefined => world.messages.at(-1 - n);
    if ('begin' in given) {
      world.begin(given.begin);
      for (let n = 0; n < given.letters; n++) world.deliver(back(0)!);
    } else if ('tick' in given) world.tick(given.tick);
    else if ('reassign' in given) world.reassign(given.reassign);
    else if ('restart' in given) {
      if (given.restart === 0) world.restartNode();
      else world.restartController(given.restart);
    } else {
      const message = back('deliver' in given ? given.deliver : given.tamper);
      if (message === undefined) return;
      if ('deliver' in given) world.deliver(message);
      else world.deliverTampered(message, given.bit);
    }
  }

  it('invariants 1 to 3 hold at every step, and the node joins once nothing is lost any more', () => {
    const reached = new Set<Event>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), (steps) => {
        const world = new World();
        world.begin(1);
        for (const given of steps) {
          take(world, given);
          world.check();
        }
        expect(joinsWithin(8, world)).toBe(true);
        expectJoined(world);
        for (const event of world.events) reached.add(event);
      }),
      { numRuns: 1000 },
    );
    const rare: Event[] = ['promoted', 'replaced', 'waited', 'lost comparison', 'late write'];
    expect([...reached], 'a search that never got there would prove nothing').toEqual(expect.arrayContaining(rare));
  });
});
