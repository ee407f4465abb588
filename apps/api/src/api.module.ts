import { type DynamicModule, Module, ValidationPipe } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { ThrottlerModule } from '@nestjs/throttler';
import { describeViolations } from '@music/events';
import type { ValidationError } from 'class-validator';
import { ApiRuntime } from './api-runtime';
import { CallerThrottler } from './auth/caller-throttler';
import { RoleGuard } from './auth/needs';
import { AnswerInterceptor } from './http/answer';
import { ProblemError } from './http/problem';
import { ProblemFilter } from './http/problem.filter';
import { DaysController } from './kpis/days.controller';
import { GenresController } from './kpis/genres.controller';
import { AsksController } from './runs/asks.controller';
import { DeadLetterBox } from './runs/dead-letter-box';
import { RunWatch } from './runs/run-watch';
import { RunsController } from './runs/runs.controller';
import { Streams, StreamsController } from './runs/streams.controller';

const MINUTE_MS = 60_000;

export const CONTROLLERS = [DaysController, GenresController, StreamsController, RunsController, AsksController];

@Module({})
export class ApiModule {
  static of(runtime: ApiRuntime): DynamicModule {
    return {
      module: ApiModule,
      imports: [ThrottlerModule.forRoot([{ ttl: MINUTE_MS, limit: runtime.config.apiRateLimit }])],
      controllers: CONTROLLERS,
      providers: [
        { provide: ApiRuntime, useValue: runtime },
        DeadLetterBox,
        RunWatch,
        Streams,
        { provide: APP_FILTER, useValue: new ProblemFilter(runtime.logger) },
        // In this order: what is refused counts, too.
        { provide: APP_GUARD, useClass: CallerThrottler },
        { provide: APP_GUARD, useClass: RoleGuard },
        { provide: APP_INTERCEPTOR, useClass: AnswerInterceptor },
        { provide: APP_PIPE, useFactory: requestValidation },
      ],
    };
  }
}

/** Requests are what their classes say, and nothing besides. */
function requestValidation(): ValidationPipe {
  return new ValidationPipe({
    transform: true,
    whitelist: true,
    forbidNonWhitelisted: true,
    stopAtFirstError: true,
    exceptionFactory: (errors) => {
      const fields = errors.map((error) => ({ field: error.property, detail: messageOf(error) }));
      const detail = fields.map(({ field, detail: what }) => `${field} ${what}`).join('; ');
      return new ProblemError(400, 'invalid-request', detail, { errors: fields });
    },
  });
}

function messageOf(error: ValidationError): string {
  if (error.constraints?.['whitelistValidation'] !== undefined) return 'is not known here';
  return describeViolations([error]).join('; ');
}
