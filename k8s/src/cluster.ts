import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PATIENCE_MS, until, workspaceRoot } from '@music/local-stack';

const exec = promisify(execFile);
const MAX_OUTPUT = 64 * 2 ** 20;

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly labels: Record<string, string>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly volumes?: readonly { name: string; projected?: object }[];
    readonly serviceAccountName?: string;
    readonly containers: readonly { ports?: readonly { name?: string; containerPort: number }[] }[];
  };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly containerStatuses?: readonly { restartCount: number }[];
  };
}

/** The pipeline in a namespace of its own, on the cluster of the current context. */
export class ClusterPipeline {
  private readonly forwards = new Set<ChildProcess>();
  private deleted = false;

  private constructor(
    readonly namespace: string,
    private readonly overlay: string,
  ) {}

  /** `settings` come before those of the local overlay; `components` are folders below k8s/components. */
  static async apply(
    namespace: string,
    settings: Record<string, string>,
    components: readonly string[] = [],
  ): Promise<ClusterPipeline> {
    // Inside k8s/, since kustomize reads nothing from outside a root.
    await mkdir(path.join(workspaceRoot(), 'k8s', '.e2e'), { recursive: true });
    const overlay = await mkdtemp(path.join(workspaceRoot(), 'k8s', '.e2e', `${namespace}-`));
    const pipeline = new ClusterPipeline(namespace, overlay);
    await pipeline.reapply(settings, components);
    return pipeline;
  }

  async reapply(settings: Record<string, string>, components: readonly string[] = []): Promise<void> {
    const kustomization = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      namespace: this.namespace,
      resources: ['../../overlays/local'],
      components: components.map((component) => `../../components/${component}`),
      configMapGenerator: [
        {
          name: 'music-settings',
          behavior: 'merge',
          literals: Object.entries(settings).map(([name, value]) => `${name}=${value}`),
        },
      ],
    };
    await writeFile(path.join(this.overlay, 'kustomization.yaml'), JSON.stringify(kustomization));
    await exec('kubectl', ['apply', '-k', this.overlay], { maxBuffer: MAX_OUTPUT });
  }

  /** Has the API server check manifests, strictly, without changing anything: those of the pipeline, or others. */
  async dryRun(manifests?: readonly object[]): Promise<void> {
    const of = manifests === undefined ? ['-k', this.overlay] : ['-f', await this.fileOf(manifests)];
    await this.kubectl('apply', ...of, '--dry-run=server', '--validate=strict');
  }

  async delete(): Promise<void> {
    this.deleted = true;
    for (const forward of this.forwards) forward.kill();
    await rm(this.overlay, { recursive: true, force: true });
    await exec('kubectl', ['delete', 'namespace', this.namespace, '--wait=true', '--timeout=300s']);
  }

  async kubectl(...args: string[]): Promise<string> {
    const { stdout } = await exec('kubectl', ['--namespace', this.namespace, ...args], { maxBuffer: MAX_OUTPUT });
    return stdout;
  }

  /** `music-kpis … --json` in the console pod. A command that ends with 1 gives its output, too. */
  async kpis<T>(...args: string[]): Promise<T> {
    const command = ['exec', 'deployment/console', '--', 'music-kpis', ...args, '--json'];
    const out = await this.kubectl(...command).catch((error: { stdout?: string; stderr?: string }) => {
      if (error.stdout) return error.stdout;
      throw new Error(error.stderr ?? String(error));
    });
    return JSON.parse(out) as T;
  }

  async pods(selector: string): Promise<Pod[]> {
    return (
      JSON.parse(await this.kubectl('get', 'pods', '--selector', selector, '--output', 'json')) as { items: Pod[] }
    ).items;
  }

  /** Where the services that run tell their metrics, as Prometheus finds them. */
  async metricsTargets(): Promise<string[]> {
    const pods = await this.pods('app.kubernetes.io/part-of=music-pipeline');
    return pods.flatMap(({ metadata, spec, status }) => {
      const port = spec.containers.flatMap(({ ports = [] }) => ports).find(({ name }) => name === 'metrics');
      if (port === undefined || status.podIP === undefined || status.phase !== 'Running') return [];
      return metadata.deletionTimestamp === undefined ? [`${status.podIP}:${port.containerPort}`] : [];
    });
  }

  /** Applies manifests in the namespace. */
  async applyManifests(...manifests: object[]): Promise<void> {
    await this.kubectl('apply', '-f', await this.fileOf(manifests));
  }

  private async fileOf(manifests: readonly object[]): Promise<string> {
    const file = path.join(this.overlay, 'more.json');
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }));
    return file;
  }

  async ready(timeoutSeconds = 180): Promise<void> {
    await this.kubectl('rollout', 'status', 'statefulset', `--timeout=${timeoutSeconds}s`).catch(() => undefined); // not of every kubectl
    await this.kubectl('wait', '--for=condition=Available', 'deployment', '--all', `--timeout=${timeoutSeconds}s`);
  }

  /**
   * Opens a port of a service on loopback. Gives the local port. kubectl ends where a connection breaks: then it is
   * called again, for the same local port, so a caller has to try again, too.
   */
  async forward(service: string, port: number, local = ''): Promise<number> {
    const args = ['--namespace', this.namespace, 'port-forward', `service/${service}`, `${local}:${port}`];
    const forward = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.forwards.add(forward);
    return new Promise((resolve, reject) => {
      let out = '';
      let opened: string | undefined;
      forward.stdout.on('data', (data) => {
        opened = /127\.0\.0\.1:(\d+)/.exec((out += String(data)))?.[1];
        if (opened !== undefined) resolve(Number(opened));
      });
      forward.once('exit', () => {
        this.forwards.delete(forward);
        if (opened === undefined) reject(new Error(`port-forward to ${service} ended: ${out}`));
        else if (!this.deleted) void this.forward(service, port, opened).catch(() => undefined); // callers fail, and tell
      });
    });
  }
}

const LOOK_MS = 500;

/** `until` at the pace of a cluster. */
export const untilCluster = <T>(what: string, seconds: number, look: () => T | Promise<T>) =>
  until(what, look, Math.max(PATIENCE_MS, seconds * 1_000), LOOK_MS);
