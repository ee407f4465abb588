import type { KpiTable } from '@music/kpis';
import { type Lineage, describeRetraction, explain, minutesText, printable, table } from '@music/reports';
import type { Stores, StoresConfig } from '@music/service';
import type { Command } from 'commander';
import { UsageError, date, positive } from './usage';
import { print, printJson, withStores } from './with-stores';

export function addKpiCommands(program: Command): void {
  program
    .command('top-genres')
    .description('the most listened genres of a day')
    .requiredOption('--date <date>', 'day, YYYY-MM-DD', date)
    .option('--limit <n>', 'how many', positive, 5)
    .option('--json', 'for programs', false)
    .action(async ({ date: day, limit, json }: { date: string; limit: number; json: boolean }) =>
      onDay(day, async (kpis) => {
        const genres = (await kpis.topGenres(day, limit)).map(({ rank, genre, listen_count }) => ({
          rank,
          genre,
          listen_count,
        }));
        if (json) printJson(genres);
        else
          print(
            table(
              ['#', 'genre', 'listens'],
              genres.map(({ rank, genre, listen_count }) => [rank, genre, listen_count]),
            ),
          );
      }),
    );

  program
    .command('top-songs')
    .description('the most listened songs of a genre, or of each genre, on a day')
    .requiredOption('--date <date>', 'day, YYYY-MM-DD', date)
    .option('--genre <genre>', 'one genre (default: all)')
    .option('--limit <n>', 'how many a genre, at most 3', positive, 3)
    .option('--json', 'for programs', false)
    .action(async ({ date: day, genre, limit, json }: { date: string; genre?: string; limit: number; json: boolean }) =>
      onDay(day, async (kpis) => {
        if (limit > 3) throw new UsageError('three songs a genre are kept: --limit is at most 3');
        const songs = (await kpis.topSongs(day, genre, limit)).map((top) => ({
          genre: top.genre,
          rank: top.rank,
          track_id: top.track_id,
          song: top.song,
          artists: top.artists,
          listen_count: top.listen_count,
        }));
        if (songs.length === 0 && genre !== undefined) throw new UsageError(noGenre(genre, day));
        if (json) printJson(songs);
        else
          print(
            table(
              ['genre', '#', 'song', 'artists', 'track', 'listens'],
              songs.map((top) => [top.genre, top.rank, top.song, top.artists, top.track_id, top.listen_count]),
            ),
          );
      }),
    );

  program
    .command('genre')
    .description('all KPIs of a genre on a day')
    .requiredOption('--date <date>', 'day, YYYY-MM-DD', date)
    .requiredOption('--genre <genre>', 'its name')
    .option('--json', 'for programs', false)
    .action(async ({ date: day, genre, json }: { date: string; genre: string; json: boolean }) =>
      onDay(day, async (kpis) => {
        const item = await kpis.genre(day, genre);
        if (item === undefined) throw new UsageError(noGenre(genre, day));
        if (json) return printJson(item);
        print(
          table(
            ['kpi', genre],
            [
              ['listens', item.listen_count.toLocaleString('en-US')],
              ['listeners', item.unique_listeners.toLocaleString('en-US')],
              ['listening time, minutes', minutesText(item.total_listening_time)],
              ['a listener, minutes', minutesText(item.avg_listening_time_per_user)],
            ],
          ),
        );
        print(
          `\n${table(
            ['#', 'song', 'artists', 'track', 'listens'],
            item.top_3_songs_per_genre.map((top) => [top.rank, top.song, top.artists, top.track_id, top.listen_count]),
          )}`,
        );
      }),
    );

  program
    .command('explain')
    .description(
      "where a genre's numbers of a day come from: run, engine, SQL, songs, and the files that its listens came in",
    )
    .requiredOption('--date <date>', 'day, YYYY-MM-DD', date)
    .requiredOption('--genre <genre>', 'its name')
    .option('--json', 'for programs', false)
    .action(async ({ date: day, genre, json }: { date: string; genre: string; json: boolean }) =>
      onDay(day, async (_, stores, config) => {
        const lineage = await explain(stores, config.lakeBucket, day, genre);
        if (lineage === undefined) throw new UsageError(noGenre(genre, day));
        if (json) printJson(lineage);
        else print(describeLineage(lineage));
      }),
    );
}

/** Where a genre's numbers come from, for people. */
function describeLineage({ day, kpis, catalogue, runs }: Lineage): string {
  return [
    table(
      ['', 'value'],
      [
        ['genre', kpis.genre],
        ['listens', kpis.listen_count.toLocaleString('en-US')],
        ['listeners', kpis.unique_listeners.toLocaleString('en-US')],
        ['listening time, milliseconds', kpis.total_listening_ms.toLocaleString('en-US')],
        ['published', `version ${day.version}, ${day.computed_at}`],
        ['by run', day.run_id],
        ['deliveries taken back', day.left_out ?? 0],
        ['engine', day.engine],
        ['job run', day.job_run_id],
        ['SQL', day.sql_version],
        ['songs', catalogue.length === 0 ? day.songs_version : `${day.songs_version}: ${catalogue.join(', ')}`],
      ],
    ),
    '',
    table(
      ['listens of the day from run', 'bytes in the lake', 'manifest'],
      runs.map(({ run_id, lake_bytes, manifest }) => [run_id, lake_bytes, manifest]),
    ),
    '',
    table(
      ['run', 'file', 'version', 'sha-256', 'now at', 'counts'],
      runs.flatMap(({ run_id, files }) =>
        files.map((file) => [
          run_id,
          file.key,
          file.version,
          file.sha256?.slice(0, 12),
          file.now_at,
          file.retracted === undefined ? 'yes' : `no: ${printable(describeRetraction(file.retracted))}`,
        ]),
      ),
    ),
  ].join('\n');
}

/** Tells a day without KPIs from one whose answer is empty. */
async function onDay(
  day: string,
  use: (kpis: KpiTable, stores: Stores, config: StoresConfig) => Promise<void>,
): Promise<void> {
  await withStores(async (stores, config) => {
    if ((await stores.kpis.readDay(day)) === undefined) throw new UsageError(`no KPIs of ${day} have been published`);
    await use(stores.kpis, stores, config);
  });
}

const noGenre = (genre: string, day: string) =>
  `there are no listens of genre ${JSON.stringify(genre)} on ${day}; \`music-kpis top-genres --date ${day} --limit 1000\` lists the genres`;
