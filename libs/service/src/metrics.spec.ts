import { Metrics, StageMetrics } from './metrics';

async function scraped(metrics: Metrics): Promise<string> {
  const port = await metrics.listen('127.0.0.1', 0);
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await metrics.close();
  return text;
}

describe('metrics', () => {
  it('begin at 0 for each combination of labels, so that the first event is an increase', async () => {
    const metrics = new StageMetrics('combiner');
    metrics.observeTopics(['music.streams.sensed']);
    const text = await scraped(metrics);
    for (const series of [
      'music_runs_total{state="failed",kind="scheduled",stage="combiner"} 0',
      'music_messages_total{topic="music.streams.sensed",outcome="dead_lettered",stage="combiner"} 0',
      'music_work_seconds_count{stage="combiner",outcome="retried"} 0',
      'music_arrival_to_served_seconds_bucket{le="300",stage="combiner",kind="arrival"} 0',
      'music_bytes_total{what="archived",stage="combiner"} 0',
    ])
      expect(text).toContain(`${series}\n`);
  });

  it('leave out a number that cannot be had or does not come, and tell the others', async () => {
    const metrics = new Metrics('combiner');
    metrics.gauge('fails', 'x', [], () => Promise.reject(new Error('no')));
    metrics.gauge('hangs', 'x', [], () => new Promise(() => undefined));
    metrics.gauge('answers', 'x', [], async () => [[{}, 7]]);
    metrics.watchReadiness(() => ['Kafka is away']);
    const text = await scraped(metrics);
    expect(text).toContain('answers{stage="combiner"} 7\n');
    expect(text).toContain('music_ready{stage="combiner"} 0\n');
    expect(text).not.toMatch(/^(fails|hangs)\{/m);
  }, 30_000);
});
