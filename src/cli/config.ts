/** `tsvswitch config`: the file of a switch, and what of it holds. */

import { fileURLToPath } from 'node:url';
import { newCommand } from './command.ts';

const schemaFile = fileURLToPath(new URL('../../tsvswitch.schema.json', import.meta.url));

export async function run(args: readonly string[]): Promise<void> {
  const command = newCommand('tsvswitch config').description('Helps with the file of a switch.');
  command
    .command('init')
    .description('print a file to start from')
    .action(async () => {
      const { startingFile } = await import('../operate/starting-file.ts');
      process.stdout.write(startingFile(schemaFile));
    });
  command
    .command('schema')
    .description('print the path of the JSON schema of such files, for editors')
    .action(() => {
      process.stdout.write(`${schemaFile}\n`);
    });
  await command.parseAsync(args, { from: 'user' });
}
