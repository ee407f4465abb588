import { STAGES, runKind } from '@music/events';
import { s3Notification, until } from '@music/local-stack';
import { TERMINAL } from '@music/runs';
import { dayReport, runReport } from '@music/reports';
import { type Gate, type Phase, type ProxiedCall } from '@music/testing';
import { WHOLE, WHOLE_MS, faultSeed, logFault, seeded } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

const PHASES: readonly Phase[] = ['before', 'after'];
const POINTS = WHOLE ? Infinity : 3;
const callName = ({ server, name }: ProxiedCall) => `${server} ${name}`;

/** A sensor that is killed at any step of an arrival: one run takes the file, once, and its listen counts once. */
describe('kill -9 while a file arrives', () => {
  let faulty: FaultyPipeline;
  let day = 0;
  const random = seeded(faultSeed());
  const points: { call: string; phase: Phase }[] = [];

  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ arrivals: 'sqs', env: { ARRIVAL_LIST_SECONDS: '2' } });
    const { objects } = faulty.pipeline.stores;
    const put = (key: string, text: string) =>
      objects.putText(faulty.pipeline.config.sourceBucket, key, text, 'text/csv');
    await put(
      'songs/songs.csv',
      'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n',
    );
    await put('users/users.csv', 'user_id,user_name,user_country\n1,Ada,France\n');
    await arrive(() => 'pass'); // the first run in a new stack does some things that no later one does
    const seen = new Set<string>();
    await arrive((call, phase) => {
      const name = callName(call);
      if (call.caller === 'sensor' && phase === 'before' && call.changes && !seen.has(name)) {
        seen.add(name);
        for (const each of PHASES) points.push({ call: name, phase: each });
      }
      return 'pass';
    });
  });
  afterAll(() => faulty?.stop());

  /** Has a file of one listen arrive, of a day of its own, and tells what became of it. */
  async function arrive(gate: Gate): Promise<void> {
    const { pipeline } = faulty;
    const { stores } = pipeline;
    day += 1;
    const date = new Date(Date.UTC(2024, 0, day)).toISOString().slice(0, 10);
    const key = `streams/${date}.csv`;
    faulty.proxies.gate = gate;
    try {
      const object = await stores.objects.putText(
        pipeline.config.sourceBucket,
        key,
        `user_id,track_id,listen_time\n1,t1,${date} 10:00:00\n`,
        'text/csv',
      );
      await pipeline.notify(s3Notification(object));
      await until(`${date} is served`, async () => (await dayReport(stores.kpis, date)) !== undefined);
      await until('all runs have ended, and nobody has work', async () => {
        for (const stage of STAGES) if ((await stores.runs.work.list(stage)).length > 0) return false;
        return (await stores.runs.listRuns(1_000)).every(({ state }) => TERMINAL.has(state));
      });
    } finally {
      faulty.proxies.gate = () => 'pass';
    }
    expect(await dayReport(stores.kpis, date)).toMatchObject({ listen_count: 1, unique_listeners: 1 });
    const runs = (await stores.runs.listRuns(1_000)).filter(({ runId }) => runKind(runId) === 'arrival');
    expect(runs.filter(({ state }) => state !== 'completed')).toEqual([]);
    expect(runs).toHaveLength(day); // one each, and none in vain
    const took = await Promise.all(runs.map(async ({ runId }) => (await runReport(stores, runId))?.files ?? []));
    expect(took.flat().filter((file) => file.key === key)).toMatchObject([{ state: 'archived' }]);
  }

  it('at every fault point of the sensor changes nothing', async () => {
    expect(points.map(({ call }) => call)).toEqual(
      expect.arrayContaining([
        expect.stringContaining('TransactWriteItems Put arrivals'),
        'sqs DeleteMessageBatch',
        'kafka Produce music.run.requested',
      ]),
    );
    const order = WHOLE ? points : [...points].sort(() => random() - 0.5);
    let hits = 0;
    for (const point of order.slice(0, POINTS)) {
      let hit = false;
      await arrive((call, phase) => {
        if (hit || call.caller !== 'sensor' || phase !== point.phase || callName(call) !== point.call) return 'pass';
        hit = true;
        faulty.kill('sensor');
        return 'cut';
      });
      if (hit) hits += 1;
    }
    expect(hits).toBeGreaterThan(0);
    logFault({
      fault: 'kill -9',
      where: `sensor, while a file arrives, ${points.length} points`,
      times: hits,
      outcome: 'as undisturbed',
    });
  });
});
