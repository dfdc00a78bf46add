import { describe, expect, it } from 'vitest';
import { Passwords } from '../src/users/password.js';

const CHEAP = { N: 32, r: 8, p: 1 };

describe('a password', () => {
  it('costs what scrypt costs at N=2^15, r=8, p=3, and is right as it was set and not otherwise', async () => {
    const passwords = new Passwords();
    const stored = await passwords.hash('correct horse battery', 'sign-in');
    expect(stored).toMatchObject({ N: 32_768, r: 8, p: 3 });
    expect(await passwords.isRight('correct horse battery', stored, 'sign-in')).toBe(true);
    expect(await passwords.isRight('correct horse batterz', stored, 'sign-in')).toBe(false);
  });

  it('is hashed with a salt of its own, and is not right with a NUL after it', async () => {
    const passwords = new Passwords(CHEAP);
    const [one, other] = [await passwords.hash('same password', 'session'), await passwords.hash('same password', 'session')];
    expect(Buffer.compare(one.hash, other.hash)).not.toBe(0);
    expect(await passwords.isRight('same password\0', one, 'session')).toBe(false);
    expect(await passwords.isRight('same password', one, 'session')).toBe(true);
  });

  it('that was hashed at another cost is checked at that cost', async () => {
    const stored = await new Passwords({ N: 64, r: 4, p: 2 }).hash('correct horse battery', 'sign-in');
    expect(await new Passwords(CHEAP).isRight('correct horse battery', stored, 'sign-in')).toBe(true);
  });

  it('of nobody is never right', async () => {
    const passwords = new Passwords(CHEAP);
    expect(await passwords.isRight('', undefined, 'sign-in')).toBe(false);
  });
});

describe('passwords', () => {
  it('wait one after another, 16 sign-ins at most, and those of sessions are served first', async () => {
    const passwords = new Passwords(CHEAP);
    const stored = await passwords.hash('correct horse battery', 'sign-in');
    const order: string[] = [];
    const check = (name: string, queue: 'sign-in' | 'session'): Promise<void> =>
      passwords.isRight('x', stored, queue).then(
        () => void order.push(name),
        ({ kind }: { kind: string }) => void order.push(`${name} ${kind}`),
      );
    const signIns = Array.from({ length: 18 }, (_, i) => check(`sign-in ${i}`, 'sign-in'));
    const sessions = Array.from({ length: 2 }, (_, i) => check(`session ${i}`, 'session'));
    await Promise.all([...signIns, ...sessions]);
    expect(order).toEqual([
      'sign-in 17 busy',
      'sign-in 0',
      'session 0',
      'session 1',
      ...Array.from({ length: 16 }, (_, i) => `sign-in ${i + 1}`),
    ]);
    expect(await passwords.isRight('correct horse battery', stored, 'sign-in')).toBe(true);
  });
});
