import { describeError } from '@music/errors';
import type { Logger } from './logger';

/** Ends this process in order at SIGTERM and SIGINT; at once where something failed that nobody took care of. */
export function endOnSignals(logger: Logger, stop: () => Promise<void>): void {
  let stopping: Promise<void> | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping !== undefined) return;
      logger.info({ signal }, 'stopping');
      stopping = stop().then(
        () => {
          logger.info({}, 'stopped');
          process.exit(0);
        },
        (error: unknown) => {
          logger.fatal({ error: describeError(error) }, 'could not stop in order');
          process.exit(1);
        },
      );
    });
  }
  process.on('unhandledRejection', (error) => {
    logger.fatal({ error: describeError(error) }, 'unhandled rejection; the process ends and is started again');
    process.exit(1);
  });
}
