/**
 * What the command `survivors` prints, as Markdown: who survives what, and the cases behind it.
 * Pure.
 */

import { type Attack, classes } from './attacks/attack.ts';
import type { Sample } from './cycles.ts';
import { formats } from './raw-queue.ts';
import { isSurvival, type Verdict } from './verdict.ts';

/** An attack and what became of the backend. */
export interface Judged {
  readonly attack: Attack;
  readonly verdict: Verdict;
}

/** By the name of the backend. */
export function survivorsTable(judged: ReadonlyMap<string, readonly Judged[]>): string {
  const columns = [...judged].flatMap(([name, all]) =>
    formats.map((format) => ({
      title: `${name}, ${format}`,
      cases: all.filter(({ attack }) => attack.format === format),
    })),
  );
  const present = Object.entries(classes).filter(([number]) =>
    columns.some(({ cases }) => cases.some(({ attack }) => attack.class === Number(number))),
  );
  const rows = present.map(([number, title]) => [
    `${number} ${title}`,
    ...columns.map(({ cases }) =>
      cell(cases.filter(({ attack }) => attack.class === Number(number))),
    ),
  ]);
  const table = markdown([['class', ...columns.map(({ title }) => title)], ...rows]);
  const sums = [...judged].map(([name, all]) => {
    const survived = all.filter(({ verdict }) => isSurvival(verdict)).length;
    return `${name} survives ${survived} of ${all.length} attacks.`;
  });
  const cases = [...judged].flatMap(([name, all]) =>
    all.filter(isRemarkable).map(({ attack, verdict }) => {
      return `- ${name}, class ${attack.class}, ${attack.format}: ${attack.name}: ${inWords(verdict)}`;
    }),
  );
  return [table, sums.join('\n'), ...(cases.length > 0 ? [cases.join('\n')] : [])].join('\n\n');
}

export function cyclesTable(name: string, samples: readonly Sample[]): string {
  const rows = samples.map(({ cycles, holdings, residentBytes }) => [
    String(cycles),
    String(holdings.files.length),
    String(holdings.guestMappings),
    String(holdings.threads),
    (residentBytes / 2 ** 20).toFixed(1),
  ]);
  return markdown([
    [`${name}: machines so far`, 'fds', 'mappings', 'threads', 'RSS, MiB'],
    ...rows,
  ]);
}

function isRemarkable({ verdict }: Judged): boolean {
  return !isSurvival(verdict) || verdict.kind === 'not forwarded';
}

function cell(cases: readonly Judged[]): string {
  if (cases.length === 0) return '–';
  const remarkable = cases.filter(isRemarkable);
  if (remarkable.length === 0) {
    const kinds = new Set(cases.map(({ verdict }) => verdict.kind));
    return kinds.has('survived') ? 'survived' : [...kinds].join(', ');
  }
  const counts = new Map<string, number>();
  for (const { verdict } of remarkable) {
    const words = inWords(verdict);
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].map(([words, count]) => `${words} (${count} of ${cases.length})`).join('; ');
}

function inWords(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'leaked':
      return `leaked ${verdict.what}`;
    case 'bystanders lost frames': {
      const { lost, damaged, strays } = verdict.damage;
      const parts = [
        ...(lost > 0 ? [`${lost} lost`] : []),
        ...(damaged > 0 ? [`${damaged} damaged`] : []),
        ...(strays > 0 ? [`${strays} out of turn`] : []),
      ];
      return `bystanders' frames: ${parts.join(', ')}`;
    }
    case 'crashed': {
      const { signal, status } = verdict.exit;
      return `crashed (${signal ?? `status ${status}`})`;
    }
    default:
      return verdict.kind;
  }
}

function markdown([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
