import { dateIn } from '@music/events';
import { Transform, Type } from 'class-transformer';
import { IsIn, IsInt, IsISO8601, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { ApiProperty } from '@nestjs/swagger';
import { applyDecorators } from '@nestjs/common';
import { ProblemError } from './problem';

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const optional = (required: boolean): PropertyDecorator[] => (required ? [] : [IsOptional()]);

/** A calendar day; checked, and described, alike. */
export function IsDay(description: string, { required = false } = {}): PropertyDecorator {
  const day = 'must be a calendar day, YYYY-MM-DD';
  return applyDecorators(
    ...optional(required),
    Matches(DATE, { message: day }),
    IsISO8601({ strict: true }, { message: day }),
    ApiProperty({ type: String, format: 'date', pattern: DATE.source, required, description }),
  );
}

/** How many to give. */
export function IsLimit(most: number, standard: number, description: string): PropertyDecorator {
  return applyDecorators(
    Type(() => Number),
    IsInt({ message: `must be a whole number from 1 to ${most}` }),
    Min(1, { message: `must be a whole number from 1 to ${most}` }),
    Max(most, { message: `must be a whole number from 1 to ${most}` }),
    ApiProperty({ type: 'integer', minimum: 1, maximum: most, default: standard, required: false, description }),
  );
}

/** A text of at most so many characters. */
export function IsText(
  most: number,
  description: string,
  { required = false, pattern }: { required?: boolean; pattern?: RegExp } = {},
): PropertyDecorator {
  return applyDecorators(
    ...optional(required),
    IsString({ message: 'must be given once' }),
    MaxLength(most, { message: `must have at most ${most} characters` }),
    ...(pattern === undefined ? [] : [Matches(pattern, { message: `must look like ${pattern.source}` })]),
    ApiProperty({
      type: String,
      minLength: 1,
      maxLength: most,
      required,
      description,
      ...(pattern === undefined ? {} : { pattern: pattern.source }),
    }),
  );
}

/** One of some words. */
export function IsOneOf(words: readonly string[], description: string, { required = false } = {}): PropertyDecorator {
  return applyDecorators(
    ...optional(required),
    IsIn(words, { message: `must be one of ${words.join(', ')}` }),
    ApiProperty({ type: String, enum: [...words], required, description }),
  );
}

/** Some of some words, separated by commas. */
export function AreSomeOf(words: readonly string[], description: string): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.split(',') : value)),
    IsIn(words, { each: true, message: `must be some of ${words.join(', ')}, separated by commas` }),
    ApiProperty({
      type: String,
      required: false,
      description,
      example: words[0],
      pattern: `^(${words.join('|')})(,(${words.join('|')}))*$`,
    }),
  );
}

/** A time, or a day of UTC. */
export function IsTime(description: string): PropertyDecorator {
  const time = 'must be a time or a day, 2026-03-01T10:00:00Z or 2026-03-01';
  return applyDecorators(
    IsOptional(),
    Matches(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/, { message: time }),
    IsISO8601({ strict: true }, { message: time }),
    ApiProperty({ type: String, required: false, description, example: '2026-03-01T00:00:00Z' }),
  );
}

export class DayParams {
  @IsDay('The day, YYYY-MM-DD, of the zone KPI_TIME_ZONE.', { required: true }) readonly date!: string;
}

/** Genres are data: anything that a song's file may say. */
export const MAX_GENRE = 1_024;

export class GenreParams {
  @IsText(MAX_GENRE, 'Name of a genre.', { required: true }) readonly genre!: string;
}

export class DayGenreParams extends DayParams {
  @IsText(MAX_GENRE, 'Name of a genre.', { required: true }) readonly genre!: string;
}

export class RangeQuery {
  @IsDay('First day (default: so many days before `to` that there are 30).') readonly from?: string;
  @IsDay('Last day (default: today, in the zone of the KPIs).') readonly to?: string;
}

export interface Range {
  readonly from: string;
  readonly to: string;
}

const DAY_MS = 86_400_000;
const STANDARD_DAYS = 30;

/** The days that are meant. Throws where they are the wrong way round, or more than `most`. */
export function rangeOf({ from, to }: RangeQuery, timeZone: string, most: number): Range {
  const last = to ?? (from === undefined ? today(timeZone) : later(today(timeZone), from));
  const first = from ?? dayBefore(last, Math.min(STANDARD_DAYS, most) - 1);
  const days = (Date.parse(last) - Date.parse(first)) / DAY_MS + 1;
  if (days < 1)
    throw new ProblemError(400, 'invalid-request', `\`from\` ${first} is after \`to\` ${last}`, {
      errors: [{ field: 'from', detail: `is after ${last}` }],
    });
  if (days > most)
    throw new ProblemError(
      400,
      'range-too-long',
      `from ${first} to ${last} are ${days} days; ask for at most ${most} at once`,
      {
        errors: [{ field: 'from', detail: `more than ${most} days before ${last}` }],
      },
    );
  return { from: first, to: last };
}

const today = (timeZone: string) => dateIn(timeZone, new Date());
const later = (a: string, b: string) => (a > b ? a : b);
const dayBefore = (date: string, days: number) => new Date(Date.parse(date) - days * DAY_MS).toISOString().slice(0, 10);
