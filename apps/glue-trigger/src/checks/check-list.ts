import { describeViolations } from '@music/events';
import { WrongSettings } from '@music/service';
import { type ClassConstructor, plainToInstance } from 'class-transformer';
import { IsIn, IsInt, IsNumber, Max, Min, validateSync } from 'class-validator';
import { parseDocument } from 'yaml';

export const LEVELS = ['warn', 'hold'] as const;
export type Level = (typeof LEVELS)[number];

const MOST_CHECKS = 100;
/** A limit that nothing passes, where one of two is not given. */
const NO_LIMIT = 1e12;

/** What every entry of checks.yaml has. Its other fields are the parameters of its SQL. */
abstract class Check {
  readonly check!: string;
  @IsIn(LEVELS) readonly level!: Level;
}

class VolumeCheck extends Check {
  @IsIn(['same_weekday', 'last_days']) readonly against: string = 'same_weekday';
  /** Weeks, or days. */
  @IsInt() @Min(1) @Max(60) readonly last: number = 6;
  /** Days that have to be there to compare with. */
  @IsInt() @Min(1) @Max(60) readonly least: number = 3;
  /** Times the median. */
  @IsNumber() @Min(0) @Max(1) readonly below: number = 0;
  @IsNumber() @Min(1) @Max(NO_LIMIT) readonly above: number = NO_LIMIT;
}

class ShareCheck extends Check {
  @IsNumber() @Min(0) @Max(1) readonly more_than!: number;
  /** Of fewer nothing is said. */
  @IsInt() @Min(0) readonly at_least: number = 1_000;
}

class TopGenreCheck extends Check {
  @IsInt() @Min(1) readonly at_least: number = 100;
}

class ListenerCheck extends Check {
  @IsInt() @Min(1) readonly more_than!: number;
}

class CatalogueCheck extends Check {
  @IsNumber() @Min(0) @Max(1) readonly by!: number;
}

const CLASSES = {
  volume: VolumeCheck,
  unknown_tracks: ShareCheck,
  unknown_users: ShareCheck,
  rejected_rows: ShareCheck,
  duplicates: ShareCheck,
  songs_without_duration: ShareCheck,
  track_share: ShareCheck,
  top_genre_gone: TopGenreCheck,
  listener_listens: ListenerCheck,
  catalogue_shrank: CatalogueCheck,
} as const satisfies Record<string, ClassConstructor<Check>>;
export type CheckName = keyof typeof CLASSES;

/** A check as checks.yaml has it. */
export interface CheckOf {
  readonly name: CheckName;
  readonly level: Level;
  /** What its SQL is given, by name. */
  readonly parameters: Readonly<Record<string, number | string>>;
}

/** The checks of a text. Throws WrongSettings with all that is wrong with it; `file` names it. */
export function readChecks(text: string, file: string): CheckOf[] {
  const document = parseDocument(text);
  const problems = document.errors.map(({ message }) => `${file}: ${message.split('\n')[0]}`);
  if (problems.length > 0) throw new WrongSettings(problems);
  const content = document.toJS({ maxAliasCount: 0 }) as unknown;
  const entries =
    typeof content === 'object' && content !== null ? (content as { checks?: unknown }).checks : undefined;
  if (!Array.isArray(entries)) throw new WrongSettings([`${file}: it has no list \`checks\``]);
  if (entries.length > MOST_CHECKS) throw new WrongSettings([`${file}: more than ${MOST_CHECKS} checks`]);
  const others = Object.keys(content as object).filter((name) => name !== 'checks');
  problems.push(...others.map((name) => `${file}: ${name} is not known here`));
  const checks = entries.map((entry: unknown, i) => {
    const place = `${file}: check ${i + 1}`;
    if (typeof entry !== 'object' || entry === null) return void problems.push(`${place} is no mapping`);
    const { check: name } = entry as { check?: unknown };
    if (typeof name !== 'string' || !Object.hasOwn(CLASSES, name))
      return void problems.push(
        `${place}: check is one of ${Object.keys(CLASSES).join(', ')}, not ${JSON.stringify(name)}`,
      );
    const value = plainToInstance<Check, unknown>(CLASSES[name as CheckName], { ...entry, check: undefined });
    const violations = validateSync(value, { whitelist: true, forbidNonWhitelisted: true, stopAtFirstError: true });
    const wrong = violations.filter(({ property }) => property !== 'check');
    if (wrong.length > 0)
      return void problems.push(...describeViolations(wrong).map((each) => `${place} (${name}): ${each}`));
    const { level, check: _, ...parameters } = value;
    return { name: name as CheckName, level, parameters: parameters as CheckOf['parameters'] };
  });
  if (problems.length > 0) throw new WrongSettings(problems);
  return checks.filter((check) => check !== undefined);
}
