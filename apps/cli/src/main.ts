import { CommanderError } from 'commander';
import { UsageError } from './usage';
import { cli } from './cli';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // somebody read as much as they wanted
  throw error;
});

cli()
  .parseAsync()
  .then(
    () => process.exit(process.exitCode ?? 0),
    (error: unknown) => {
      if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
      process.stderr.write(`music-kpis: ${explain(error)}\n`);
      process.exit(error instanceof UsageError ? 2 : 1);
    },
  );

/** What a store says where set-up was forgotten does not say that. */
function explain(error: unknown): string {
  const { name, message } = error instanceof Error ? error : { name: '', message: String(error) };
  const missing =
    name === 'ResourceNotFoundException' || name === 'NoSuchBucket' || /does not host this topic/.test(message);
  return missing ? `${message}: has \`music-kpis setup\` been run here?` : message;
}
