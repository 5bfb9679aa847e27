/**
 * What the text of a C++ file says of its shape, without a compiler: where its functions are, which
 * members of classes it defines and which it calls.
 *
 * Comments, the insides of literals and preprocessor lines become spaces first, so that braces and
 * names in them count for nothing; line numbers stay. What is outside of functions is namespaces,
 * types and initializers. clang-format has seen every file, so nothing else is expected here.
 */

export interface CppFunction {
  /** As it is defined: `Forwarder::Run`, or the text in front of its body where it has no name. */
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  readonly body: string;
}

const literalOrComment =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|R"([^(\s]*)\([\s\S]*?\)\1"|"(?:[^"\\\n]|\\.)*"|(?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)+'/g;

/** The code alone; every line keeps its number and every character its place. */
export function codeOf(text: string): string {
  return text
    .replace(literalOrComment, (match) => match.replace(/[^\n]/g, ' '))
    .replace(/^[ \t]*#(?:[^\n\\]|\\[^\n]|\\\n)*/gm, (match) => match.replace(/[^\n]/g, ' '));
}

/** What holds declarations; anything else in front of a brace has parentheses or initializes. */
const container =
  /^(?:template\b[^{]*?>\s*)?(?:inline\s+)?(?:namespace\b|class\b|struct\b|union\b|extern$)/;
const ownName = /((?:[A-Za-z_]\w*(?:<[^<>()]*>)?::)*~?[A-Za-z_]\w*)\s*\(/g;
/** Words in front of a parenthesis that name no function. */
const noNames = [
  ...['__attribute__', 'alignas', 'decltype', 'noexcept', 'operator', 'requires'],
  'static_assert',
];

function lineAt(code: string, position: number): number {
  return code.slice(0, position).split('\n').length;
}

/** The position of the brace that closes the one at `open`. */
function closingBrace(code: string, open: number): number {
  let depth = 0;
  for (let position = open; position < code.length; position += 1) {
    if (code[position] === '{') depth += 1;
    else if (code[position] === '}') depth -= 1;
    if (depth === 0) return position;
  }
  throw new Error(`the brace in line ${lineAt(code, open)} is not closed`);
}

/** Functions with a body, outermost ones only: a lambda belongs to the function around it. */
export function functionsOf(text: string): CppFunction[] {
  const code = codeOf(text);
  const functions: CppFunction[] = [];
  let begin = 0;
  for (let position = 0; position < code.length; position += 1) {
    const character = code[position]!;
    if (character === ';' || character === '}') begin = position + 1;
    if (character !== '{') continue;
    const header = code.slice(begin, position);
    if (container.test(header.replace(/^(?:\s*\w+:(?!:))+/, '').trim())) {
      begin = position + 1;
      continue;
    }
    const end = closingBrace(code, position);
    const name = [...header.matchAll(ownName)].find(([, found]) => !noNames.includes(found!));
    // An initializer: of a variable, or of a member before the body of a constructor.
    if (name === undefined || /=\s*$/.test(header) || /[,:]\s*\w+\s*$/.test(header)) {
      position = end;
      continue;
    }
    const line = lineAt(code, begin + header.search(/\S/));
    functions.push({
      name: name[1]!,
      line,
      lines: lineAt(code, end) - line + 1,
      body: code.slice(position, end + 1),
    });
    position = end;
    begin = end + 1;
  }
  return functions;
}

/** A member function that one source calls and another one of the same class defines. */
export interface MemberCall {
  readonly from: string;
  readonly to: string;
  readonly member: string;
}

/**
 * Calls between the sources of one class, by class. A call counts where it names nothing in front
 * of the member, or `this`: one of another object is one between objects.
 */
export function callsBetweenSources(
  sources: readonly { file: string; text: string }[],
): Map<string, MemberCall[]> {
  const members = sources.flatMap(({ file, text }) =>
    functionsOf(text)
      .filter(({ name }) => name.includes('::'))
      .map(({ name, body }) => {
        const parts = name.split('::');
        return { file, owner: parts.slice(0, -1).join('::'), member: parts.at(-1)!, body };
      }),
  );
  const calls = new Map<string, MemberCall[]>();
  for (const owner of new Set(members.map((entry) => entry.owner))) {
    const own = members.filter((entry) => entry.owner === owner);
    const between = own.flatMap(({ file, body }) =>
      Array.from(body.matchAll(/(?<![\w.:]|(?<!\bthis)->)(\w+)\s*\(/g), (match) => match[1]!)
        .filter((name) => !own.some((entry) => entry.member === name && entry.file === file))
        .flatMap((name) => {
          const definition = own.find((entry) => entry.member === name);
          return definition === undefined
            ? []
            : [{ from: file, to: definition.file, member: name }];
        }),
    );
    if (between.length > 0) calls.set(owner, between);
  }
  return calls;
}

/** Groups of two or more names that reach each other over arrows; each sorted. */
export function circlesOf(arrows: readonly { from: string; to: string }[]): string[][] {
  const reachedFrom = (start: string) => {
    const reached = new Set<string>();
    const todo = [start];
    for (const name of todo) {
      for (const { from, to } of arrows) {
        if (from !== name || reached.has(to)) continue;
        reached.add(to);
        todo.push(to);
      }
    }
    return reached;
  };
  const names = [...new Set(arrows.flatMap(({ from, to }) => [from, to]))].sort();
  const reach = new Map(names.map((name) => [name, reachedFrom(name)]));
  const circles = names.map((name) =>
    names.filter((other) => reach.get(name)!.has(other) && reach.get(other)!.has(name)),
  );
  return circles.filter((circle, i) => circle.length > 1 && circle[0] === names[i]);
}
