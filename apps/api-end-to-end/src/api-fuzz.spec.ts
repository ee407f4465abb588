import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import { LocalPipeline } from '@music/local-pipeline';
import { requestRun, waitForRun } from '@music/reports';

const root = workspaceRoot();
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
];
const EXAMPLES = 12;

describe('whatever the API is asked', () => {
  let pipeline: LocalPipeline;
  let runId: string;
  beforeAll(async () => {
    pipeline = await LocalPipeline.start({ api: true, env: { API_RATE_LIMIT: '10000000' } });
    await pipeline.load(path.join(root, 'samples'));
    runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-03', immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
  });
  afterAll(() => pipeline?.stop());

  /** `known`: values of parameters that are there, so that handlers are reached; without, anything that fits. */
  it.each<[string, Record<string, unknown>]>([
    ['by anything that its document allows, and some that it does not', {}],
    ['about what is there', { 'path.date': ['2026-03-01', '2026-03-02'], 'path.genre': ['dub', 'jazz & blues'] }],
  ])('it answers as its document says, and never with a fault of its own: %s', (_, known) => {
    const config = path.join(pipeline.dir, 'schemathesis.toml');
    const parameters = { ...known, ...(Object.keys(known).length === 0 ? {} : { 'path.id': runId }) };
    const lines = Object.entries(parameters).map(
      ([name, value]) => `${JSON.stringify(name)} = ${JSON.stringify(value)}`,
    );
    // 503 says that Kafka, or a store, is slow just now.
    const answers = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 503]';
    writeFileSync(config, `request-timeout = 60.0\n\n${answers}\n\n[parameters]\n${lines.join('\n')}\n`);
    const { status, stdout, stderr } = spawnSync(
      path.join(root, '.stack/fuzz-venv/bin/st'),
      [
        ...['--config-file', config, 'run', path.join(root, 'apps/api/openapi.json'), '--url', pipeline.apiUrl()],
        ...['--checks', CHECKS.join(','), '--max-examples', String(EXAMPLES), '--seed', '1', '--no-color'],
        ...['--exclude-path-regex', 'stream$'], // which do not end
      ],
      { encoding: 'utf8', cwd: pipeline.dir, maxBuffer: 2 ** 26 },
    );
    expect([status, status === 0 ? '' : stdout.slice(-4_000), stderr]).toEqual([0, '', '']);
    const [, cases] = /(\d+) generated, \1 passed/.exec(stdout) ?? [];
    process.stdout.write(`${cases} requests, none of which had a wrong answer\n`);
    expect(Number(cases)).toBeGreaterThan(500);
  });
});
