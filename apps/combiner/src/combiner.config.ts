import { CONTRACTS, FILE_KINDS } from '@music/contracts';
import { EngineServiceConfig, Setting } from '@music/service';
import {
  IsISO8601,
  IsIn,
  IsInt,
  IsNumber,
  IsOptional,
  IsString,
  IsTimeZone,
  Matches,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import type { Delimiter, Reading } from './reading';

const COLUMNS = FILE_KINDS.flatMap((kind) => CONTRACTS[kind].required.map((column) => `${kind}\\.${column}`));
/** A name stands in SQL, as a path into JSON or as a column: no quotes, no control characters. */
const COLUMN_NAME = new RegExp(`^(${COLUMNS.join('|')})=[^"'\\\\\\p{Cc}]{1,200}$`, 'u');
const DELIMITER_NAMES = { ',': ',', ';': ';', tab: '\t', '|': '|', auto: 'auto' } as const;

export class CombinerConfig extends EngineServiceConfig {
  @Setting('SOURCE_TIME_ZONE', 'IANA zone of a listen_time that names none')
  @IsTimeZone()
  sourceTimeZone: string = 'UTC';

  @Setting('MAX_FILE_MB', 'MiB; a larger stream file is rejected')
  @IsInt()
  @Min(1)
  @Max(5_242_880)
  maxFileMb: number = 5_120;

  @Setting('MAX_ROW_KB', 'KiB; a longer row is malformed')
  @IsInt()
  @Min(64)
  @Max(65_536)
  maxRowKb: number = 1_024;

  @Setting('CSV_DELIMITER', 'what parts the columns of CSV: `,`, `;`, `tab`, `|`, or `auto`: the header tells')
  @IsIn(Object.keys(DELIMITER_NAMES))
  csvDelimiter: string = ',';

  @Setting(
    'COLUMN_NAMES',
    'other names of columns, such as `streams.user_id=userId,streams.listen_time=played_at`; the first that a file has counts',
  )
  @Matches(COLUMN_NAME, {
    each: true,
    message: `each must be KIND.COLUMN=NAME, where KIND.COLUMN is one of ${COLUMNS.join(', ').replaceAll('\\', '')}`,
  })
  columnNames: string[] = [];

  @Setting('NULL_TEXT', 'texts that stand for a missing value, such as `\\N,NULL,nan`, separated by commas')
  @MaxLength(100, { each: true })
  nullText: string[] = [];

  @Setting(
    'LISTEN_TIME_EPOCH',
    'what a `listen_time` that is a number counts since 1970: `s` or `ms`; empty: it is no time',
  )
  @IsOptional()
  @IsIn(['s', 'ms'])
  listenTimeEpoch?: string;

  @Setting('MAX_FUTURE_HOURS', 'a listen later than so many hours after its run began is rejected')
  @IsNumber()
  @Min(0)
  @Max(100_000_000)
  maxFutureHours: number = 24;

  @Setting('EARLIEST_LISTEN', 'a listen before this date or time (ISO 8601, UTC) is rejected; empty: none is')
  @IsOptional()
  @IsString()
  @IsISO8601({ strict: true })
  earliestListen?: string;

  get reading(): Reading {
    return {
      zones: { source: this.sourceTimeZone, kpi: this.kpiTimeZone },
      maxRowBytes: this.maxRowKb * 2 ** 10,
      delimiter: DELIMITER_NAMES[this.csvDelimiter as keyof typeof DELIMITER_NAMES] as Delimiter | 'auto',
      columnNames: this.columnNames,
      nullText: this.nullText,
      epoch: this.listenTimeEpoch as Reading['epoch'],
      maxFutureHours: this.maxFutureHours,
      earliest: this.earliestListen === undefined ? undefined : new Date(this.earliestListen).toISOString(),
    };
  }
}
