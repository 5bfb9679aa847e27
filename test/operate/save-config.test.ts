/** What was changed at run time, written into a file that people have written. */

import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { settingsOf } from '../../src/model/check.ts';
import type { SwitchSettings, WrittenSettings } from '../../src/model/settings.ts';
import { configOfText } from '../../src/operate/config-file.ts';
import { savedText, writeConfig } from '../../src/operate/save-config.ts';
import { randomSettings, withSortedLinks } from '../support/random-settings.ts';

const read = (text: string) => configOfText(text, 'switch.yaml').settings;

/** The text once `change` was made of what it says. */
function saved(text: string, change: (settings: SwitchSettings) => void): string {
  const settings = read(text);
  change(settings);
  const wanted = settingsOf(settings);
  const after = savedText(text, 'switch.yaml', wanted);
  expect(withSortedLinks(read(after))).toEqual(withSortedLinks(wanted));
  return after;
}

const added = (port: WrittenSettings['ports']) => settingsOf({ ports: port! }).ports;

test('whatever was changed, the file says it afterwards', () => {
  fc.assert(
    fc.property(randomSettings, randomSettings, fc.boolean(), (before, after, isFlow) => {
      const head = isFlow ? '' : '# A file.\ncontrol: /run/c.sock\n';
      const text = head + stringify(before, { collectionStyle: isFlow ? 'flow' : 'any' });
      const result = savedText(text, 'switch.yaml', after);
      expect(withSortedLinks(read(result))).toEqual(withSortedLinks(after));
      expect(result.startsWith(head)).toBe(true);
    }),
  );
});

describe('what people have written stays', () => {
  const text = `# Of the whole.
control: /run/tsvswitch/control.sock # its socket

ports:
  # The web server.
  web: { path: /run/vsw/web.sock, mode: 0o660 } # behind it

  db:
    path: "/run/vsw/db.sock"
    mtu: 1500 # as usual
    inBand: off

# At the end.
`;

  test('but for the key that was changed', () => {
    const after = saved(text, ({ ports }) => {
      Object.assign(ports.db!, { mtu: 9000 });
    });
    expect(after).toBe(text.replace('1500', '9000'));
  });

  test('and what was added stands behind it, without defaults', () => {
    const after = saved(text, ({ ports }) => {
      Object.assign(ports, added({ mail: { path: '/run/vsw/mail.sock', bridge: 'blue' } }));
    });
    expect(after).toBe(
      text.replace(
        'inBand: off\n',
        'inBand: off\n  mail:\n    path: /run/vsw/mail.sock\n    bridge: blue\n',
      ),
    );
  });

  test('and what was removed is gone', () => {
    const after = saved(text, ({ ports }) => {
      delete ports.db;
    });
    expect(after).toContain('web: { path: /run/vsw/web.sock, mode: 0o660 } # behind it');
    expect(after).not.toContain('db');
    expect(after).toContain('# At the end.');
  });

  test('if nothing was changed, to the byte', () => {
    expect(saved(text, () => {})).toBe(text);
  });
});

describe('what comes from elsewhere in the file is written out', () => {
  const base = 'ports:\n  a: &a { path: /a, mtu: 9000 }\n';

  test.each([
    ['a key of a merge that is another one', '', { mtu: 2000 }],
    ['a key of a merge that is gone', ', allow: [1]', {}],
  ])('%s', (_, more, keys) => {
    const after = saved(`${base}  b: { <<: *a, path: /b${more} }\n`, ({ ports }) => {
      ports.b = added({ b: { path: '/b', ...keys } }).b!;
    });
    expect(read(after).ports.a).toMatchObject({ mtu: 9000 });
  });

  test('an alias, and what it repeats stays', () => {
    const source = (last: number) => ({ macs: [`52:54:00:00:00:0${last}`], addresses: [] });
    const text =
      'ports:\n' +
      `  a: { path: /a, source: &s { macs: ['52:54:00:00:00:01'] } }\n` +
      '  b: { path: /b, source: *s }\n';
    const after = saved(text, ({ ports }) => {
      ports.b!.source = source(2);
    });
    expect(read(after).ports.a).toMatchObject({ source: source(1) });
  });
});

describe('the file', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'save-'));
    file = join(folder, 'switch.yaml');
    writeFileSync(file, 'old');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('keeps its permissions, and a link to it stays one', () => {
    chmodSync(file, 0o640);
    const link = join(folder, 'link.yaml');
    symlinkSync('switch.yaml', link);
    writeConfig(link, 'new');
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder).toSorted()).toEqual(['link.yaml', 'switch.yaml']);
  });

  test('is not written while another process writes it, whose work stays', () => {
    writeFileSync(`${file}.new`, 'of another');
    expect(() => writeConfig(file, 'new')).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNWRITABLE' }),
    );
    expect(readFileSync(file, 'utf8')).toBe('old');
    expect(readFileSync(`${file}.new`, 'utf8')).toBe('of another');
  });

  test('that is not there is not made', () => {
    expect(() => writeConfig(join(folder, 'none.yaml'), 'new')).toThrow(/none\.yaml cannot be/);
    expect(readdirSync(folder)).toEqual(['switch.yaml']);
  });
});
