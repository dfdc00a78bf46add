/** What an attack is, and how it is played. */

export interface Attack {
  readonly name: string;
  /**
   * Runs the attack against the draft, read literally. Returns true if its outcome shows success.
   */
  readonly draft: () => boolean | Promise<boolean>;
  /** The same against the profile. */
  readonly profile: () => boolean | Promise<boolean>;
  /** One sentence: what becomes of the draft, and what stops the attack here. */
  readonly sentence: string;
  /**
   * Succeeds against the profile too, and no implementation can help it: the sentence is what the
   * user is told.
   */
  readonly inherent?: true;
}

export interface AttackResult {
  readonly attack: string;
  readonly againstDraft: Verdict;
  readonly againstProfile: Verdict;
  readonly sentence: string;
  /**
   * True if the outcome is as documented: success against the draft, and against the profile only
   * if the documents tell users.
   */
  readonly asDocumented: boolean;
}

type Verdict = 'succeeds' | 'fails';

export async function play(attack: Attack): Promise<AttackResult> {
  const [draft, profile] = [await attack.draft(), await attack.profile()];
  return {
    attack: attack.name,
    againstDraft: verdict(draft),
    againstProfile: verdict(profile),
    sentence: attack.sentence,
    asDocumented: draft && profile === (attack.inherent ?? false),
  };
}

function verdict(succeeds: boolean): Verdict {
  return succeeds ? 'succeeds' : 'fails';
}
