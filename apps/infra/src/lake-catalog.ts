import { lakeCatalog } from '@music/lake';
import { Aws } from 'aws-cdk-lib';
import { CfnDatabase, CfnTable, type CfnTableProps } from 'aws-cdk-lib/aws-glue';
import type { Construct } from 'constructs';
import type { Buckets } from './buckets';
import { camelCased } from './camel-case';
import type { Options } from './options';

/** The lake in the Glue Data Catalog, as `music-kpis setup --catalog` would make it. */
export function makeLakeCatalog(
  scope: Construct,
  { prefix, catalogFrom: from }: Options,
  buckets: Buckets,
): CfnDatabase {
  const catalog = lakeCatalog(buckets.lake.bucketName, { database: prefix.replaceAll('-', '_'), from });
  const database = new CfnDatabase(scope, 'LakeDatabase', {
    catalogId: Aws.ACCOUNT_ID,
    databaseInput: camelCased(catalog.database) as CfnDatabase.DatabaseInputProperty,
  });
  for (const table of catalog.tables)
    new CfnTable(scope, `LakeTable${table.Name.replace('_', '')}`, {
      catalogId: Aws.ACCOUNT_ID,
      databaseName: database.ref,
      tableInput: camelCased(table) as CfnTableProps['tableInput'],
    });
  return database;
}
