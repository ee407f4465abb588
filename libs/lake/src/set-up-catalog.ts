import {
  CreateDatabaseCommand,
  CreateTableCommand,
  GetDatabaseCommand,
  GetTableCommand,
  type GlueClient,
  UpdateTableCommand,
} from '@aws-sdk/client-glue';
import { type CatalogSettings, type LakeTable, lakeCatalog } from './catalog';
import { contains, unlessMissing } from './glue-answers';

export type SetUpTables = Readonly<Record<string, 'created' | 'updated' | 'unchanged'>>;

/**
 * Makes the lake's database and tables in the Glue Data Catalog, or brings those that are there up to date. Safe to
 * repeat. Gives what it did with each table.
 */
export async function setUpCatalog(glue: GlueClient, bucket: string, settings: CatalogSettings): Promise<SetUpTables> {
  const { database, tables } = lakeCatalog(bucket, settings);
  if ((await unlessMissing(glue.send(new GetDatabaseCommand({ Name: database.Name })))) === undefined)
    await glue.send(new CreateDatabaseCommand({ DatabaseInput: database }));
  const done = await Promise.all(
    tables.map(async (table) => [table.Name, await setUpTable(glue, database.Name, table)]),
  );
  return Object.fromEntries(done);
}

async function setUpTable(
  glue: GlueClient,
  DatabaseName: string,
  table: LakeTable,
): Promise<'created' | 'updated' | 'unchanged'> {
  const there = await unlessMissing(glue.send(new GetTableCommand({ DatabaseName, Name: table.Name })));
  if (there === undefined) {
    await glue.send(new CreateTableCommand({ DatabaseName, TableInput: table }));
    return 'created';
  }
  if (contains(there.Table, table)) return 'unchanged';
  await glue.send(new UpdateTableCommand({ DatabaseName, TableInput: table }));
  return 'updated';
}
