import { BatchGetCommand, type BatchGetCommandOutput } from '@aws-sdk/lib-dynamodb';
import type { LedgerEntry } from '../file-ledger';
import { type ManifestFile, versionOf } from '../manifest';
import type { Key, RunsTable } from './runs-table';

const fileKey = (key: string, version: string): Key => ({ pk: `file#${key}`, sk: version });
const KEYS_A_CALL = 100;

/** Which version of which file was taken by which run, and what became of it. */
export class FileLedgerStore {
  constructor(private readonly table: RunsTable) {}

  /** The entries of these file versions, by key, line feed and version; those that no run took are absent. */
  async find(files: readonly { key: string; version: string }[]): Promise<Map<string, LedgerEntry>> {
    const found = new Map<string, LedgerEntry>();
    const { dynamo, name } = this.table;
    for (let i = 0; i < files.length; i += KEYS_A_CALL) {
      let keys: Record<string, unknown>[] | undefined = files
        .slice(i, i + KEYS_A_CALL)
        .map(({ key, version }) => ({ ...fileKey(key, version) }));
      while (keys !== undefined && keys.length > 0) {
        const got: BatchGetCommandOutput = await dynamo.send(
          new BatchGetCommand({ RequestItems: { [name]: { Keys: keys, ConsistentRead: true } } }),
        );
        for (const item of (got.Responses?.[name] ?? []) as LedgerEntry[])
          found.set(`${item.key}\n${item.version}`, item);
        keys = got.UnprocessedKeys?.[name]?.Keys;
      }
    }
    return found;
  }

  /** Gives the entry of each of a manifest's files; nothing for one that no run took. */
  async ofFiles(files: readonly ManifestFile[]): Promise<(file: ManifestFile) => LedgerEntry | undefined> {
    const entries = await this.find(files.map((file) => ({ key: file.key, version: versionOf(file) })));
    return (file) => entries.get(`${file.key}\n${versionOf(file)}`);
  }

  /**
   * Takes a file version for a run, if it is as free as when it was looked up. `takers` are the runs that took it
   * before, the last one last.
   */
  take(entry: Pick<LedgerEntry, 'key' | 'version' | 'runId'>, takers: readonly string[] = []): Promise<boolean> {
    const takenBefore = takers.filter((runId) => runId !== entry.runId);
    return this.table.put(
      {
        ...fileKey(entry.key, entry.version),
        ...entry,
        state: 'taken',
        ...(takenBefore.length === 0 ? {} : { takenBefore }),
      },
      {
        ConditionExpression: 'attribute_not_exists(pk) OR runId = :me OR runId = :holder',
        ExpressionAttributeValues: { ':me': entry.runId, ':holder': takers.at(-1) ?? entry.runId },
      },
    );
  }

  /** All versions of a file that runs took, and what became of them. */
  async versions(key: string): Promise<LedgerEntry[]> {
    return this.table.list<LedgerEntry>(`file#${key}`);
  }

  /** Writes what became of a file, as long as it is this run's. */
  update(key: string, version: string, runId: string, changes: Partial<LedgerEntry>): Promise<boolean> {
    return this.table.update(fileKey(key, version), changes, { runId });
  }

  /** Remembers content by its hash. Gives the file that had it first, as `key (run_id)`, where that is another one. */
  async noteContent(
    sha256: string,
    file: { key: string; version: string; runId: string },
  ): Promise<string | undefined> {
    const key: Key = { pk: `content#${sha256}`, sk: 'first' };
    if (await this.table.putNew({ ...key, key: file.key, version: file.version, runId: file.runId })) return undefined;
    const first = await this.table.get<{ key: string; version: string; runId: string }>(key);
    const same = first === undefined || (first.key === file.key && first.version === file.version);
    return same ? undefined : `${first.key} (${first.runId})`;
  }
}
