import type { CreateTableCommandInput } from '@aws-sdk/client-dynamodb';
import { kpiTable } from '@music/kpis';
import { pipelineRunsTable } from '@music/runs';
import { RemovalPolicy } from 'aws-cdk-lib';
import { CfnTable, type CfnTableProps } from 'aws-cdk-lib/aws-dynamodb';
import type { Construct } from 'constructs';
import { camelCased } from './camel-case';
import type { Table } from './permissions';

export type Tables = Readonly<Record<Table, CfnTable>>;
export const TABLE_NAMES: Record<Table, string> = { runs: 'pipeline_runs', kpis: 'music_kpis_table' };

/** The tables as `music-kpis setup` makes them, with backups for 35 days, and not to be deleted by mistake. */
export function makeTables(scope: Construct): Tables {
  const make = (id: string, definition: CreateTableCommandInput) => {
    const table = new CfnTable(scope, id, {
      ...(camelCased(definition) as CfnTableProps),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtectionEnabled: true,
    });
    table.applyRemovalPolicy(RemovalPolicy.RETAIN);
    return table;
  };
  return {
    runs: make('RunsTable', pipelineRunsTable(TABLE_NAMES.runs)),
    kpis: make('KpiTable', kpiTable(TABLE_NAMES.kpis)),
  };
}
