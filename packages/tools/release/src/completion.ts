/**
 * Completions for bash, zsh and fish: the names of commands and options, the choices of an option,
 * else a file.
 */

import { flatten, type OptionNode, type CommandNode } from './command-tree.js';

/** `install`, `node list`; the program itself is ''. */
function pathOf({ path }: CommandNode): string {
  return path.slice(1).join(' ');
}

function functionName({ path: [name = ''] }: CommandNode): string {
  return `_${name.replaceAll('-', '_')}`;
}

function spellings({ long, short }: OptionNode): string[] {
  return short === undefined ? [long] : [long, short];
}

function wordsOf({ commands, options }: CommandNode): string {
  return [...commands.map(({ path }) => path.at(-1)), ...options.map(({ long }) => long)].join(' ');
}

/** Lines of a `case` on `path option`: what may stand behind an option that takes a value. */
function valueCases(all: readonly CommandNode[], choices: (words: string) => string, file: string): string[] {
  return all.flatMap((command) =>
    command.options
      .filter(({ takesValue }) => takesValue)
      .map((option) => {
        const patterns = spellings(option).map((spelling) => quote(`${pathOf(command)} ${spelling}`));
        return `    ${patterns.join(' | ')}) ${option.choices.length > 0 ? choices(option.choices.join(' ')) : file} ;;`;
      }),
  );
}

export function bash(root: CommandNode): string {
  const all = flatten(root);
  const name = functionName(root);
  return `# bash completion for ${root.path[0]}
${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} path='' words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${path:+$path }\${COMP_WORDS[i]}" in
      ${all.slice(1).map(pathOf).map(quote).join(' | ')}) path="\${path:+$path }\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $prev" in
${valueCases(all, (words) => `mapfile -t COMPREPLY < <(compgen -W ${quote(words)} -- "$cur"); return`, 'return').join('\n')}
  esac
  case "$path" in
${all.map((command) => `    ${quote(pathOf(command))}) words=${quote(wordsOf(command))} ;;`).join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F ${name} ${root.path[0]}
`;
}

export function zsh(root: CommandNode): string {
  const all = flatten(root);
  return `#compdef ${root.path[0]}
local path_= word previous=\${words[CURRENT-1]}
for word in \${words[2,CURRENT-1]}; do
  case "\${path_:+$path_ }$word" in
    ${all
      .slice(1)
      .map((command) => `(${quote(pathOf(command))})`)
      .join(' | ')
      .replaceAll(') | (', ' | ')}
      path_="\${path_:+$path_ }$word" ;;
  esac
done
case "$path_ $previous" in
${valueCases(all, (words) => `compadd -- ${words}; return`, '_files; return').join('\n')}
esac
case "$path_" in
${all
  .map((command) => {
    const subs = command.commands.map((sub) => quote(`${sub.path.at(-1)}:${sub.description}`)).join(' ');
    const options = command.options.map(({ long, description }) => quote(`${long}:${description}`)).join(' ');
    return `  ${quote(pathOf(command))})
    local -a offers=(${subs})
    local -a options=(${options})
    (( $#offers )) && _describe command offers
    _describe -o option options
    ${command.commands.length === 0 ? '_files' : ''}
    ;;`;
  })
  .join('\n')}
esac
`;
}

export function fish(root: CommandNode): string {
  const all = flatten(root);
  const [name = ''] = root.path;
  const at = `_${functionName(root)}_at`;
  const lines = all.flatMap((command) => {
    const here = `complete -c ${name} -n ${quote(`${at} ${quote(pathOf(command)).replaceAll("'", '"')}`)}`;
    return [
      ...command.commands.map((sub) => `${here} -f -a ${sub.path.at(-1)} -d ${fishQuote(sub.description)}`),
      ...command.options.map(({ long, short, takesValue, choices, description }) => {
        const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
        const value = choices.length > 0 ? ` -x -a ${quote(choices.join(' '))}` : takesValue ? ' -r' : '';
        return `${here} -l ${long.slice(2)}${letter}${value} -d ${fishQuote(description)}`;
      }),
    ];
  });
  return `# fish completion for ${name}
function ${at}
  set -l path
  for word in (commandline -opc)[2..]
    if contains -- (string join ' ' $path $word) ${all.slice(1).map(pathOf).map(quote).join(' ')}
      set -a path $word
    end
  end
  test (string join ' ' $path) = "$argv[1]"
end
${lines.join('\n')}
`;
}

/** For sh and its kin. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Fish escapes within single quotes. */
function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
