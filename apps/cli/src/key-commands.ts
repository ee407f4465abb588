import { createHash, randomBytes } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { print, printJson } from './with-stores';

const KEY_BYTES = 32;

export function addKeyCommands(program: Command): void {
  program
    .command('api-key')
    .description('make a key for the API: the key itself, for who uses it, and its entry for API_KEYS_FILE')
    .requiredOption('--name <name>', 'whose it is; runs that are asked for with it tell', (name: string) => {
      if (!/^[\w.@ -]{1,100}$/.test(name))
        throw new InvalidArgumentError('expected up to 100 letters, digits, spaces, or any of _ . @ -');
      return name;
    })
    .addOption(new Option('--role <role>', 'what it may').choices(['reader', 'operator']).default('reader'))
    .option('--json', 'for programs', false)
    .action(({ name, role, json }: { name: string; role: string; json: boolean }) => {
      const key = `music_${randomBytes(KEY_BYTES).toString('base64url')}`;
      const entry = { name, role, sha256: createHash('sha256').update(key).digest('hex') };
      if (json) return printJson({ key, entry });
      print(`key, which is shown this once: ${key}\nentry for the list in API_KEYS_FILE: ${JSON.stringify(entry)}`);
    });
}
