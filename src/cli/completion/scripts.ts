/**
 * Scripts with which bash, zsh and fish complete our commands. The words are in the script, so that
 * a key costs nothing; for names of ports, bridges and machines it runs `tsvswitch completion
 * names`. What was typed is never evaluated, and neither are names, which a guest's owner may have
 * chosen.
 */

import { allCommands, type CommandWords, type OptionWords, type Value } from '../command-tree.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function script(shell: Shell, tree: CommandWords): string {
  const commands = allCommands(tree);
  switch (shell) {
    case 'bash':
      return tables(commands) + walk + bash;
    case 'zsh':
      return `#compdef tsvswitch\n${tables(commands)}${walk}${zsh}`;
    case 'fish':
      return fishTables(commands) + fish;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const pathOf = ({ path }: CommandWords) => path.join(' ');

const namesOf = ({ options }: CommandWords) => options.flatMap(({ names }) => names).join(' ');

/** As the scripts know it: `words` with the words, or the name of the kind. */
function kindOf(value: Value): string {
  return typeof value === 'string' ? value : `words ${value.join(' ')}`;
}

const withValue = (options: readonly OptionWords[]) =>
  options.flatMap(({ names, value }) =>
    value === undefined ? [] : names.map((name) => [name, value] as const),
  );

/** Functions of a shell like that of POSIX, each of which sets variables of its caller. */
function tables(commands: readonly CommandWords[]): string {
  const rows = commands.map((command) => {
    const words = command.commands.map(({ path }) => path.at(-1)).join(' ');
    const what = `subs=${quoted(words)} flags=${quoted(namesOf(command))}`;
    return `    ${quoted(pathOf(command))}) ${what} ;;\n`;
  });
  const options = commands.flatMap((command) =>
    withValue(command.options).map(
      ([name, value]) =>
        `    ${quoted(`${pathOf(command)} ${name}`)}) kind=${quoted(kindOf(value))} ;;\n`,
    ),
  );
  const positions = commands.flatMap((command) =>
    command.arguments.map(({ value, isMany }, i) => {
      const place = `${quoted(`${pathOf(command)} `)}${isMany ? '*' : i}`;
      return `    ${place}) kind=${quoted(kindOf(value))} ;;\n`;
    }),
  );
  const table = (name: string, on: string, lines: readonly string[]) =>
    `${name}() {\n  case ${on} in\n${lines.join('')}  esac\n}\n`;
  return [
    table('_tsvswitch_command', '"$1"', rows),
    table('_tsvswitch_option', '"$1 $2"', options),
    table('_tsvswitch_argument', '"$1 $2"', positions),
  ].join('');
}

/**
 * Reads the words in front of the one that is completed: sets `subs` and `flags` of the command
 * they end in, `kind` of the value that is wanted next (or nothing), and in `asked` which switch or
 * lab they name.
 */
const walk = `
_tsvswitch_walk() {
  local command='' word option='' position=0
  _tsvswitch_command ''
  for word in "$@"; do
    if [[ -n $option ]]; then
      case $option in
        --control|--switch|-s|--token|--ca|--file|-f) asked+=("$option" "$word") ;;
      esac
      option=''
    elif [[ $word == -* ]]; then
      kind=''
      _tsvswitch_option "$command" "$word"
      if [[ -n $kind ]]; then option=$word; fi
    elif [[ " $subs " == *" $word "* ]]; then
      command=\${command:+$command }$word
      subs='' flags=''
      _tsvswitch_command "$command"
    else
      position=$((position + 1))
    fi
  done
  kind=''
  if [[ -n $option ]]; then
    _tsvswitch_option "$command" "$option"
    subs='' flags=''
  else
    _tsvswitch_argument "$command" "$position"
  fi
}

_tsvswitch_names() {
  tsvswitch completion names "$@" 2>/dev/null
}
`;

/**
 * Not compgen -W, which evaluates its words. Bash takes colons and equals signs for the ends of
 * words, so the part up to the last one is left out of what it is given.
 */
const bash = `
_tsvswitch_complete() {
  local line=\${COMP_LINE:0:COMP_POINT} current='' subs='' flags='' kind='' asked=() typed
  read -ra typed <<< "$line"
  if [[ $line == *[![:space:]] ]]; then
    current=\${typed[-1]}
    unset 'typed[-1]'
  fi
  _tsvswitch_walk "\${typed[@]:1}"
  local candidates=() word
  case $kind in
    files)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    ports|bridges|machines)
      mapfile -t candidates < <(_tsvswitch_names "$kind" "\${asked[@]}")
      ;;
    words*) subs=\${kind#words} ;;
  esac
  read -ra typed <<< "$subs"
  candidates+=("\${typed[@]}")
  if [[ $current == -* ]]; then
    read -ra typed <<< "$flags"
    candidates+=("\${typed[@]}")
  fi
  local cut=\${current%"\${current##*[:=]}"}
  for word in "\${candidates[@]}"; do
    [[ $word == "$current"* ]] || continue
    printf -v word %q "\${word#"$cut"}"
    COMPREPLY+=("$word")
  done
}
complete -F _tsvswitch_complete tsvswitch
`;

const zsh = `
_tsvswitch() {
  local current=\${words[CURRENT]} typed=("\${(@)words[2,CURRENT-1]}")
  local subs='' flags='' kind='' asked=() candidates=()
  _tsvswitch_walk "\${(@Q)typed}"
  case $kind in
    files) _files ;;
    ports|bridges|machines) candidates=("\${(@f)$(_tsvswitch_names $kind "\${asked[@]}")}") ;;
    words*) subs=\${kind#words} ;;
  esac
  candidates=(\${(s: :)subs} \${candidates:#})
  if [[ $current == -* ]]; then candidates+=(\${(s: :)flags}); fi
  compadd -- "\${candidates[@]}"
}
if [[ \${funcstack[1]} == _tsvswitch ]]; then
  _tsvswitch "$@"
else
  compdef _tsvswitch tsvswitch
fi
`;

function fishTables(commands: readonly CommandWords[]): string {
  const fishQuoted = (text: string) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`;
  const line = (key: string, ...words: readonly string[]) =>
    `    case ${fishQuoted(key)}\n      printf '%s\\n' ${words.map(fishQuoted).join(' ')}\n`;
  const described = (name: string, summary: string) => `${name}\t${summary.split('\n')[0]}`;
  const table = (name: string, lines: readonly string[]) =>
    `function ${name}\n  switch "$argv"\n${lines.join('')}  end\nend\n`;
  return [
    table(
      '__tsvswitch_words',
      commands
        .filter((command) => command.commands.length > 0)
        .map((command) =>
          line(
            pathOf(command),
            ...command.commands.map(({ path, summary }) => described(path.at(-1)!, summary)),
          ),
        ),
    ),
    table(
      '__tsvswitch_options',
      commands.map((command) =>
        line(
          pathOf(command),
          ...command.options.flatMap(({ names, summary }) =>
            names.map((name) => described(name, summary)),
          ),
        ),
      ),
    ),
    table(
      '__tsvswitch_option',
      commands.flatMap((command) =>
        withValue(command.options).map(([name, value]) =>
          line(`${pathOf(command)} ${name}`.trim(), kindOf(value)),
        ),
      ),
    ),
    table(
      '__tsvswitch_argument',
      commands.flatMap((command) =>
        command.arguments.map(({ value, isMany }, i) =>
          line(`${pathOf(command)} ${isMany ? '*' : i}`.trim(), kindOf(value)),
        ),
      ),
    ),
  ].join('');
}

const fish = `
function __tsvswitch_complete
  set -l typed (commandline --tokenize --cut-at-cursor --current-process)
  set -l current (commandline --current-token --cut-at-cursor)
  set -l command
  set -l option
  set -l asked
  set -l position 0
  for word in $typed[2..-1]
    if test -n "$option"
      if contains -- $option --control --switch -s --token --ca --file -f
        set -a asked $option $word
      end
      set option
    else if string match -q -- '-*' $word
      set -l kind (__tsvswitch_option $command $word)
      if test -n "$kind"
        set option $word
      end
    else
      set -l known (__tsvswitch_words $command | string replace -r '\\t.*' '')
      if contains -- $word $known
        set -a command $word
      else
        set position (math $position + 1)
      end
    end
  end
  set -l kind
  if test -n "$option"
    set kind (__tsvswitch_option $command $option)
  else
    set kind (__tsvswitch_argument $command $position)
    __tsvswitch_words $command
    if string match -q -- '-*' $current
      __tsvswitch_options $command
    end
  end
  switch "$kind"
    case files
      __fish_complete_path $current
    case ports bridges machines
      tsvswitch completion names $kind $asked 2>/dev/null
    case 'words *'
      string split ' ' -- (string replace 'words ' '' -- $kind)
  end
end
complete --command tsvswitch --no-files --arguments '(__tsvswitch_complete)'
`;
