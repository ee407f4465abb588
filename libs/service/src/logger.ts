import type { LoggerService } from '@nestjs/common';
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** JSON lines on standard output. */
export function serviceLogger(service: string, level: string): Logger {
  return pino({
    level,
    base: { service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: ['*.password', '*.secretAccessKey', '*.sessionToken', '*.authorization'], censor: '[redacted]' },
  });
}

/** Nest's own lines, at debug level but for what went wrong. */
export function nestLogger(logger: Logger): LoggerService {
  const text = (message: unknown) => (message instanceof Error ? message.message : String(message));
  return {
    log: (message: unknown, context?: unknown) => logger.debug({ context }, text(message)),
    debug: (message: unknown, context?: unknown) => logger.debug({ context }, text(message)),
    verbose: (message: unknown, context?: unknown) => logger.trace({ context }, text(message)),
    warn: (message: unknown, context?: unknown) => logger.warn({ context }, text(message)),
    error: (message: unknown, ...context: unknown[]) => logger.error({ context }, text(message)),
  };
}
