/** A step of the build: prints docs/errors.md from the table. */

import { writeFileSync } from 'node:fs';
import { textOf } from '../sentence.ts';
import { codes } from './table.ts';

const head = `# Errors and events

For whoever reads a code in the log, in an answer of the control socket or in a program, and wants
to know what it means.

Everything that goes wrong has a \`code\`, which never changes. A \`fault\` says more than the code.
\`parameters\` are what the sentence names, in braces here. Errors have all three, and so have
answers of the [control socket](control.md) and events of ports. What the native addon checks itself
has a code alone, and so has a document with several mistakes: its \`findings\` are the data. A
sentence may become a better one: programs look at code and fault, never at sentences.

This page is printed from the tables in \`src/model/faults\`.
`;

const rows = Object.entries(codes).map(([code, { means, ends, remedy, sentences }]) => {
  const table = Object.entries(sentences).map(([fault, template]) => {
    const sentence = textOf(template).replaceAll('\n', ' ').replaceAll('|', '\\|');
    return `| \`${fault}\` | ${sentence.replaceAll('<', '\\<').trim()} |\n`;
  });
  const list = table.length === 0 ? '' : `\n| fault | sentence |\n| --- | --- |\n${table.join('')}`;
  const facts = [`what it means: ${means}`, `what it ends: ${ends}`, `what to do: ${remedy}`];
  return `\n## ${code}\n\n${facts.map((fact) => wrapped(`- ${fact}`)).join('')}${list}`;
});

writeFileSync(new URL('../../../docs/errors.md', import.meta.url), head + rows.join(''));

/** In lines of at most 100 characters. */
function wrapped(text: string): string {
  let line = '';
  let lines = '';
  for (const word of text.split(' ')) {
    if (line.length + word.length >= 100) {
      lines += `${line.trimEnd()}\n`;
      line = '  ';
    }
    line += `${word} `;
  }
  return `${lines}${line.trimEnd()}\n`;
}
