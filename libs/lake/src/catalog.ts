import type { Column, DatabaseInput, StorageDescriptor, TableInput } from '@aws-sdk/client-glue';
import { currentPrefix } from './current-tables';

export interface CatalogSettings {
  readonly database: string;
  /** First day that a query may look for, YYYY-MM-DD: one without a condition on `day` asks S3 for each since then. */
  readonly from: string;
}

/** The first day, where nobody says another. */
export const CATALOG_FROM = '2015-01-01';

/** What a table of the Glue Data Catalog is made of; which of its fields are there is known. */
export type LakeTable = TableInput & { readonly Name: string; readonly Parameters: Record<string, string> };

const HIVE = 'org.apache.hadoop.hive.ql.io';
const PARQUET: Partial<StorageDescriptor> = {
  InputFormat: `${HIVE}.parquet.MapredParquetInputFormat`,
  OutputFormat: `${HIVE}.parquet.MapredParquetOutputFormat`,
  SerdeInfo: { SerializationLibrary: `${HIVE}.parquet.serde.ParquetHiveSerDe` },
};
const JSON_LINES: Partial<StorageDescriptor> = {
  InputFormat: 'org.apache.hadoop.mapred.TextInputFormat',
  OutputFormat: `${HIVE}.HiveIgnoreKeyTextOutputFormat`,
  SerdeInfo: { SerializationLibrary: 'org.openx.data.jsonserde.JsonSerDe' },
};

const columns = (of: Readonly<Record<string, string>>): Column[] =>
  Object.entries(of).map(([Name, Type]) => ({ Name, Type }));

/**
 * The lake as a database of the Glue Data Catalog, for Athena, Trino, Spark and whatever else reads that: `listens` by
 * `day`, of which nobody has to tell the catalogue (partition projection), what of them does not count (`left_out`), and
 * `songs` and `users` of the newest numbers. docs/lake.md has the view that counts a listen once.
 */
export function lakeCatalog(
  bucket: string,
  { database, from }: CatalogSettings,
): { readonly database: DatabaseInput & { readonly Name: string }; readonly tables: readonly LakeTable[] } {
  const at = (prefix: string) => `s3://${bucket}/${prefix}`;
  const table = (
    Name: string,
    Description: string,
    storage: Partial<StorageDescriptor>,
    more: Pick<TableInput, 'PartitionKeys' | 'Parameters'> = {},
  ): LakeTable => ({
    Name,
    Description,
    TableType: 'EXTERNAL_TABLE',
    ...(more.PartitionKeys === undefined ? {} : { PartitionKeys: more.PartitionKeys }),
    Parameters: { EXTERNAL: 'TRUE', ...more.Parameters },
    StorageDescriptor: storage,
  });
  return {
    database: { Name: database, Description: 'Lake of the music streaming pipeline' },
    tables: [
      table(
        'listens',
        'Listens as they were delivered: one may be there several times, or not count. Read them by the view of docs/lake.md',
        {
          ...PARQUET,
          Location: at('listens/'),
          Columns: columns({
            user_id: 'string',
            track_id: 'string',
            listened_at: 'timestamp',
            listen_date: 'date',
            file: 'int',
            delivered_by: 'string',
          }),
        },
        {
          PartitionKeys: [{ Name: 'day', Type: 'string', Comment: 'YYYY-MM-DD, in the time zone of the KPIs' }],
          Parameters: {
            classification: 'parquet',
            'projection.enabled': 'true',
            'projection.day.type': 'date',
            'projection.day.format': 'yyyy-MM-dd',
            'projection.day.range': `${from},NOW+1DAYS`, // NOW is in UTC; the KPIs' days may be ahead of it
            'projection.day.interval': '1',
            'projection.day.interval.unit': 'DAYS',
            'storage.location.template': at('listens/date=${day}/'),
          },
        },
      ),
      table('left_out', 'Deliveries of which no listen counts; without a file, all of a run', {
        ...JSON_LINES,
        Location: at('left_out/'),
        Columns: columns({
          run: 'string',
          file: 'int',
          key: 'string',
          version: 'string',
          change: 'string',
          changed_by_run: 'string',
          at: 'string',
          reason: 'string',
          by: 'string',
        }),
      }),
      table('songs', 'The catalogue of the newest numbers', {
        ...PARQUET,
        Location: at(currentPrefix('songs')),
        Columns: columns({
          track_id: 'string',
          track_genre: 'string',
          track_name: 'string',
          artists: 'string',
          duration_ms: 'bigint',
          popularity: 'bigint',
        }),
      }),
      table('users', 'The users of the newest numbers', {
        ...PARQUET,
        Location: at(currentPrefix('users')),
        Columns: columns({ user_id: 'string' }),
      }),
    ],
  };
}
