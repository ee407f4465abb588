import { createHash } from 'node:crypto';
import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  SetMetadata,
  applyDecorators,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiOkResponse, ApiProduces, ApiResponse, getSchemaPath, ApiExtraModels } from '@nestjs/swagger';
import { stringify } from 'csv-stringify/sync';
import type { Request, Response } from 'express';
import { type Observable, switchMap } from 'rxjs';
import { ProblemError } from './problem';
import { type RowClass, columnsOf } from './row';

const ROWS = 'rows';
const CSV = 'text/csv';
/** Changes when rows of the same numbers look different: then what callers have kept is good no more. */
const ROWS_FORMAT = 1;

interface RowsOptions {
  /** Whether the answer names the next page in a `Link`. */
  readonly paged?: boolean;
}

/** A route that answers with rows: a JSON array, or the same as CSV. */
export function AnswersRows(row: RowClass, description: string, { paged = false }: RowsOptions = {}): MethodDecorator {
  return applyDecorators(
    SetMetadata(ROWS, row),
    ApiExtraModels(row),
    ApiOkResponse({
      description,
      headers: {
        ETag: { description: 'Of these numbers, for `If-None-Match`.', schema: { type: 'string' } },
        ...(paged
          ? { Link: { description: 'The next page, as `rel="next"`, where there is one.', schema: { type: 'string' } } }
          : {}),
      },
      content: {
        'application/json': { schema: { type: 'array', items: { $ref: getSchemaPath(row) } } },
        [CSV]: { schema: { type: 'string', description: 'The rows with a header, RFC 4180.' } },
      },
    }),
    ApiResponse({ status: 304, description: 'They are as they were.' }),
  );
}

/** A route that answers with one object. */
export function AnswersOne(model: RowClass, description: string, status = 200): MethodDecorator {
  return applyDecorators(ApiProduces('application/json'), ApiResponse({ status, type: model, description }));
}

/** An answer that is known to be the same as long as its tag is; `body` is made only for who does not have it. */
export class Tagged<T> {
  constructor(
    readonly tag: string,
    readonly body: () => Promise<T> | T,
  ) {}
}

/** Tagged by the versions of the days that the rows are of. */
export function taggedByVersions<T extends { date: string; version: number }>(
  about: string,
  rows: readonly T[],
): Tagged<readonly T[]> {
  const versions = createHash('sha256');
  for (const { date, version } of rows) versions.update(`${date} ${version}\n`);
  return new Tagged(`${about}-${versions.digest('base64url').slice(0, 22)}`, () => rows);
}

/** Gives rows in the form that the caller accepts, and nothing to who has them already. */
@Injectable()
export class AnswerInterceptor implements NestInterceptor {
  constructor(private readonly reflector: Reflector) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = http.getRequest<Request>();
    const response = http.getResponse<Response>();
    const row = this.reflector.get<RowClass | undefined>(ROWS, context.getHandler());
    response.vary('Accept').vary('Authorization');
    const accepted = request.accepts(row === undefined ? ['application/json'] : ['application/json', CSV]);
    if (accepted === false && !response.headersSent && !isStream(request))
      throw new ProblemError(
        406,
        'not-acceptable',
        `this is to be had as application/json${row === undefined ? '' : ' or text/csv'}`,
      );
    response.set('Cache-Control', 'private, no-cache');
    return next.handle().pipe(
      switchMap(async (answer: unknown) => {
        if (response.headersSent) return undefined;
        const csv = row !== undefined && accepted === CSV;
        if (answer instanceof Tagged) {
          response.set('ETag', `"${answer.tag}-${ROWS_FORMAT}${csv ? '-csv' : ''}"`);
          delete request.headers['cache-control']; // whether a caller has it, If-None-Match tells alone
          if (request.fresh) {
            response.status(304);
            return undefined;
          }
        }
        const body: unknown = answer instanceof Tagged ? await answer.body() : answer;
        if (!csv) return body;
        response.type('text/csv; charset=utf-8; header=present');
        return toCsv(row, (Array.isArray(body) ? body : [body]) as object[]);
      }),
    );
  }
}

const isStream = (request: Request): boolean => request.path.endsWith('/stream');

/** RFC 4180. A cell that a spreadsheet would take for a formula gets a `'` before it. */
export function toCsv(row: RowClass, rows: readonly object[]): string {
  const columns = columnsOf(row).map(({ name }) => name);
  return stringify([...rows], {
    header: true,
    columns,
    record_delimiter: 'windows',
    escape_formulas: true,
    cast: { boolean: String, object: (value) => JSON.stringify(value) },
  });
}
