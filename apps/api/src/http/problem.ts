import { HttpException } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';

export class FieldProblem {
  @ApiProperty({ description: 'The parameter or field that is wrong.' }) readonly field!: string;
  @ApiProperty({ description: 'What is wrong with it.' }) readonly detail!: string;
}

/** An error as RFC 9457 has it. */
export class Problem {
  @ApiProperty({ description: '`about:blank`, or a URN that names the kind of problem.' }) readonly type!: string;
  @ApiProperty({ description: 'The same for every problem of a kind.' }) readonly title!: string;
  @ApiProperty({ type: 'integer', description: 'The status of the response.' }) readonly status!: number;
  @ApiProperty({ description: 'What went wrong, and what to do.', required: false }) readonly detail?: string;
  @ApiProperty({ description: 'The path that was asked for.' }) readonly instance!: string;
  @ApiProperty({
    type: [FieldProblem],
    required: false,
    description: 'What is wrong with the request, field by field.',
  })
  readonly errors?: readonly FieldProblem[];
}

interface ProblemOptions {
  readonly errors?: readonly FieldProblem[];
  readonly retryAfterSeconds?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error that says what a caller needs to know of it. `kind`: part of its type, the same for all of a kind. */
export class ProblemError extends HttpException {
  constructor(
    status: number,
    readonly kind: string,
    readonly detail: string,
    readonly more: ProblemOptions = {},
  ) {
    super(detail, status);
  }
}

export const problemType = (kind: string): string => `urn:music-pipeline:problem:${kind}`;
