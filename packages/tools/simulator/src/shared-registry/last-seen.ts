import { type Kept, LastSeen, type Seen } from '@latchkey/registry/postgres/simulation';

/** As a server keeps it in its data folder. */
export class SimulatedLastSeen extends LastSeen {
  readonly #file: { readonly noted: (seen: Seen) => void; readonly write: (text: string) => Promise<void> };

  constructor(kept: Kept, file: { readonly noted: (seen: Seen) => void; readonly write: (text: string) => Promise<void> }) {
    super('postgres.json', kept);
    this.#file = file;
  }

  override note(seen: Seen): void {
    super.note(seen);
    this.#file.noted(seen);
  }

  protected override write(text: string): Promise<void> {
    return this.#file.write(text);
  }
}
