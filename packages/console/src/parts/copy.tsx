import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { commandText } from '../action-steps.js';
import { useSay } from '../phrase.js';

const SHOWN_MS = 4_000;

interface CopyButtonProps {
  readonly text: string;
  readonly class?: string;
  readonly children: ComponentChildren;
}

export function CopyButton({ text, class: className, children }: CopyButtonProps): JSX.Element {
  const say = useSay();
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return undefined;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const copy = (): void => {
    navigator.clipboard.writeText(text).then(
      () => setCopied(true),
      // Not allowed here: the text can still be selected.
      () => undefined,
    );
  };
  return (
    <button type="button" class={className} onClick={copy}>
      {isCopied ? say('common.copied') : children}
      <span role="status" class="hidden">
        {isCopied ? say('common.copied') : ''}
      </span>
    </button>
  );
}

/** A command line to paste into a shell. */
export function Command({ words }: { readonly words: readonly string[] }): JSX.Element {
  return <CommandText text={commandText(words)} />;
}

export function CommandText({ text }: { readonly text: string }): JSX.Element {
  const say = useSay();
  return (
    <div class="command">
      <code>
        {text.split(' ').map((word) => (
          <>
            <span class="word">{word}</span>{' '}
          </>
        ))}
      </code>
      <CopyButton text={text}>{say('common.copy')}</CopyButton>
    </div>
  );
}
