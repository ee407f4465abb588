import { setUp } from '@music/service';
import { Command } from 'commander';
import { addEventCommands } from './event-commands';
import { addKpiCommands } from './kpi-commands';
import { addRunCommands } from './run-commands';
import { print, printJson, withStores } from './with-stores';

/** `music-kpis`. Exit codes: 0 done, 1 it did not succeed, 2 wrong usage. */
export function cli(): Command {
  const program = new Command('music-kpis')
    .description('Runs of the music streaming pipeline, and their KPIs')
    .exitOverride()
    .showHelpAfterError();
  program.configureHelp({ sortSubcommands: false });
  program
    .command('setup')
    .description('create the topics, tables and buckets that are not there')
    .option('--json', 'for programs', false)
    .action(async ({ json }: { json: boolean }) =>
      withStores(async (stores, config) => {
        const { created } = await setUp(stores, config);
        if (json) return printJson({ created });
        const count = (names: readonly string[], what: string) =>
          `${names.length} ${what}${names.length > 0 && names.length < 5 ? ` (${names.join(', ')})` : ''}`;
        print(
          `created ${count(created.buckets, 'buckets')}, ${count(created.tables, 'tables')}, ${count(created.topics, 'topics')}; the rest was there`,
        );
      }),
    );
  addRunCommands(program);
  addKpiCommands(program);
  addEventCommands(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}
