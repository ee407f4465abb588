import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Child } from './child-process';
import { freePort } from './local-stack';
import { workspaceRoot } from './workspace';

const HOST = '127.0.0.1';

/** The result of an instant query: one value a series. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface FiringAlert {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A program of Prometheus, as `node tools/set-up.mjs prometheus` fetched it, or of this machine. */
export function prometheusProgram(name: 'prometheus' | 'promtool'): string {
  const fetched = path.join(workspaceRoot(), '.stack', 'prometheus', 'usr', 'bin', name);
  return existsSync(fetched) ? fetched : name;
}

/** A Prometheus as a process on loopback, which scrapes every 2 s. */
export class Prometheus {
  private constructor(
    private readonly dir: string,
    private readonly port: number,
    private readonly child: Child,
  ) {}

  /** `rules`: the text of a rule file. Keeps its data in `dir`, which may not be there yet. */
  static async start(dir: string, rules: string): Promise<Prometheus> {
    await mkdir(dir, { recursive: true });
    const port = await freePort();
    await writeFile(path.join(dir, 'rules.yaml'), rules);
    await writeFile(path.join(dir, 'targets.json'), '[]');
    await writeFile(
      path.join(dir, 'prometheus.yaml'),
      JSON.stringify({
        global: { scrape_interval: '2s', evaluation_interval: '1s' },
        rule_files: ['rules.yaml'],
        scrape_configs: [
          {
            job_name: 'music-pipeline',
            scrape_timeout: '2s',
            file_sd_configs: [{ files: ['targets.json'], refresh_interval: '1s' }],
          },
        ],
      }),
    );
    const child = Child.spawn(
      'prometheus',
      prometheusProgram('prometheus'),
      [
        `--config.file=${path.join(dir, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${path.join(dir, 'data')}`,
        `--web.listen-address=${HOST}:${port}`,
        '--log.level=warn',
      ],
      { env: process.env, logFile: path.join(dir, 'prometheus.log') },
    );
    const prometheus = new Prometheus(dir, port, child);
    await child.until(async () => (await fetch(`${prometheus.url}/-/ready`)).ok);
    return prometheus;
  }

  get url(): string {
    return `http://${HOST}:${this.port}`;
  }

  /** What it scrapes from now on: addresses, `host:port`. What is no longer among them is stale at once. */
  async scrape(targets: readonly string[]): Promise<void> {
    await writeFile(path.join(this.dir, 'targets.json'), JSON.stringify([{ targets }]));
  }

  /** Asks a query as of now. Throws where Prometheus refuses it. */
  async query(query: string): Promise<Sample[]> {
    const { result } = (await this.ask(`query?${new URLSearchParams({ query }).toString()}`)) as {
      result: { metric: Record<string, string>; value: [number, string] }[];
    };
    return result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  async firing(): Promise<FiringAlert[]> {
    const { alerts } = (await this.ask('alerts')) as { alerts: { labels: Record<string, string>; state: string }[] };
    return alerts
      .filter(({ state }) => state === 'firing')
      .map(({ labels: { alertname = '', ...labels } }) => ({ name: alertname, labels }));
  }

  stop(): Promise<void> {
    return this.child.stop();
  }

  private async ask(what: string): Promise<unknown> {
    const reply = await fetch(`${this.url}/api/v1/${what}`);
    const { data, error } = (await reply.json()) as { data?: unknown; error?: string };
    if (!reply.ok) throw new Error(`Prometheus answered ${reply.status} to ${what}: ${error ?? ''}`);
    return data;
  }
}
