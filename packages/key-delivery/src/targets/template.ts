/**
 * Templates of key files. A field can only be a hexadecimal number. So no value can end a line, or
 * open a quote, in the configuration of another program.
 */

import { UsageFailure } from '@latchkey/runtime/failure';

const FIELDS = ['id', 'kid', 'key'] as const;
type Field = (typeof FIELDS)[number];

/** The values of one identity: lower-case hexadecimal digits. */
export type TemplateValues = Readonly<Record<Field, string>>;

type Part = { readonly text: string } | { readonly field: Field };

/** `{{` and `}}` are braces, `{name}` is a field, any other brace is a mistake. */
const TOKEN = /\{\{|\}\}|\{([^{}\n]*)\}|[{}]/g;

export class Template {
  readonly #parts: readonly Part[];

  private constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  /**
   * Parses a template. A template without a line feed at its end gets one, since it is repeated for
   * each identity.
   *
   * @param path named if the template is wrong
   */
  static parse(text: string, path: string): Template {
    const parts: Part[] = [];
    let end = 0;
    for (const match of text.matchAll(TOKEN)) {
      const [token, name] = match;
      parts.push({ text: text.slice(end, match.index) });
      end = match.index + token.length;
      if (token === '{{' || token === '}}') {
        parts.push({ text: token.charAt(0) });
        continue;
      }
      const field = FIELDS.find((one) => one === name);
      if (field === undefined) {
        const line = text.slice(0, match.index).split('\n').length;
        throw new UsageFailure(`${path}, line ${line}: ${token} is not a field`, {
          advice: `Use one of ${FIELDS.map((one) => `{${one}}`).join(', ')}. Write {{ for a brace.`,
        });
      }
      parts.push({ field });
    }
    parts.push({ text: text.slice(end) });
    if (!text.endsWith('\n')) parts.push({ text: '\n' });
    return new Template(parts);
  }

  render(values: TemplateValues): string {
    return this.#parts.map((part) => ('text' in part ? part.text : values[part.field])).join('');
  }
}
