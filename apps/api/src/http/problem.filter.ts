import { STATUS_CODES } from 'node:http';
import { describeError } from '@music/errors';
import { DayIsBeingPublished } from '@music/kpis';
import { CannotRerun } from '@music/runs';
import type { Logger } from '@music/service';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import { ThrottlerException } from '@nestjs/throttler';
import type { Request, Response } from 'express';
import { type Problem, ProblemError, problemType } from './problem';

const RETRY_SECONDS = 5;

/** Answers every error as `application/problem+json`; what the caller has no part in is logged, and not shown. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<Request>();
    const response = host.switchToHttp().getResponse<Response>();
    const told = problemOf(error);
    const status = told.getStatus();
    if (status >= 500)
      this.logger.error({ method: request.method, path: request.path, error: describeError(error) }, told.message);
    if (response.headersSent) {
      response.destroy(); // half an answer must not look like a whole one
      return;
    }
    const { retryAfterSeconds, headers = {}, errors } = told.more;
    response.status(status).set(headers);
    if (retryAfterSeconds !== undefined) response.set('Retry-After', String(retryAfterSeconds));
    response.removeHeader('ETag');
    const problem: Problem = {
      type: told.kind === '' ? 'about:blank' : problemType(told.kind),
      title: STATUS_CODES[status] ?? 'Error',
      status,
      detail: told.detail,
      instance: request.originalUrl.split('?')[0] ?? '/',
      errors,
    };
    response.set('Cache-Control', 'no-store').type('application/problem+json').send(JSON.stringify(problem));
  }
}

function problemOf(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  if (error instanceof DayIsBeingPublished)
    return new ProblemError(503, 'day-being-published', error.message, { retryAfterSeconds: 1 });
  if (error instanceof CannotRerun) return new ProblemError(409, 'cannot-rerun', error.message);
  if (error instanceof ThrottlerException)
    return new ProblemError(429, 'too-many-requests', 'too many requests; the limit is API_RATE_LIMIT a minute');
  if (error instanceof HttpException) return new ProblemError(error.getStatus(), '', error.message);
  const status = statusOfMiddleware(error);
  if (status !== undefined) return new ProblemError(status, '', describeError(error, 300));
  if (isAway(error))
    return new ProblemError(503, 'store-away', 'a store that this needs is away or too busy; try again in a moment', {
      retryAfterSeconds: RETRY_SECONDS,
    });
  return new ProblemError(500, '', 'this is a fault of the service; its log has more');
}

/** Express's own middleware says what a request lacks by the status of its error. */
function statusOfMiddleware(error: unknown): number | undefined {
  const { status, expose } = error as { status?: unknown; expose?: unknown };
  return typeof status === 'number' && status >= 400 && status < 500 && expose !== false ? status : undefined;
}

const AWAY = new Set([
  'TimeoutError',
  'ThrottlingException',
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'InternalServerError',
  'ServiceUnavailable',
  'SlowDown',
  'CredentialsProviderError',
  'KafkaIsAway',
]);
const AWAY_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
]);

/** Whether a store or Kafka did not answer, which it may do again. */
function isAway(error: unknown): boolean {
  const {
    name = '',
    code,
    $metadata,
    cause,
  } = error as {
    name?: string;
    code?: unknown;
    $metadata?: { httpStatusCode?: number };
    cause?: unknown;
  };
  return (
    AWAY.has(name) ||
    name.startsWith('KafkaJS') ||
    (typeof code === 'string' && AWAY_CODES.has(code)) ||
    ($metadata?.httpStatusCode ?? 0) >= 500 ||
    (cause !== undefined && cause !== null && isAway(cause))
  );
}
