import { spawnSync } from 'node:child_process';
import { existsSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Ajv from 'ajv';
import { parse, stringify } from 'yaml';
import { prometheusProgram, workspaceRoot } from '@music/local-stack';
import { CHART, HELM, type Manifest, render, renderOf, renderWith } from './render';

const root = workspaceRoot();
const SERVICES = ['sensor', 'combiner', 'validator', 'glue-trigger', 'archiver', 'api'];
/** Of operators that are not part of Kubernetes. */
const CUSTOM = new Set(['ScaledObject', 'PodMonitor', 'PrometheusRule']);

const podSpecOf = ({ kind, spec }: Manifest) =>
  kind === 'CronJob' ? spec.jobTemplate.spec.template.spec : spec.template.spec;
const withPods = (manifests: Manifest[]) =>
  manifests.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job', 'CronJob'].includes(kind as string));

describe.each(['k8s/overlays/local', 'k8s/overlays/aws', ...(HELM === undefined ? [] : [CHART])])('%s', (folder) => {
  it('fits the schemas of Kubernetes, with no field too many', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'manifests-'));
    try {
      const file = path.join(dir, 'all.yaml');
      writeFileSync(
        file,
        render(folder)
          .filter(({ kind }) => !CUSTOM.has(kind as string))
          .map((manifest) => JSON.stringify(manifest))
          .join('\n---\n'),
      );
      const { status, stdout, stderr } = spawnSync(
        path.join(root, '.stack/manifests-venv/bin/kubernetes-validate'),
        ['--strict', '--quiet', file],
        {
          encoding: 'utf8',
        },
      );
      expect([status, stdout, stderr]).toEqual([0, expect.not.stringContaining('ERROR'), '']);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it.each(
    withPods(render(folder)).map((manifest) => [`${manifest['kind']} ${manifest['metadata'].name}`, manifest] as const),
  )('%s keeps the rules of restricted pods, has limits, labels, and no token that it does not need', (_, manifest) => {
    const spec = podSpecOf(manifest);
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(spec.automountServiceAccountToken).toBe(false);
    for (const container of spec.containers) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources).toMatchObject({
        requests: { cpu: expect.anything(), memory: expect.anything() },
        limits: { memory: expect.anything() },
      });
      expect(container.image).toMatch(/:(?!latest)[\w.-]+$/);
    }
    expect(manifest['metadata'].labels).toMatchObject({
      'app.kubernetes.io/name': expect.any(String),
      'app.kubernetes.io/component': expect.any(String),
      'app.kubernetes.io/part-of': 'music-pipeline',
    });
  });

  it('has each service with probes, a budget, an account of its own, spread, and time to drain', () => {
    for (const name of SERVICES) {
      const of = (kind: string) =>
        render(folder).find((each) => each['kind'] === kind && each['metadata'].name === name);
      const { spec } = of('Deployment') ?? {};
      const pod = spec.template.spec;
      expect(spec.strategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
      expect(pod.containers[0]).toMatchObject({
        startupProbe: { httpGet: { path: '/livez' } },
        livenessProbe: { httpGet: { path: '/livez' } },
        readinessProbe: { httpGet: { path: '/readyz' } },
      });
      expect(pod.serviceAccountName).toBe(name);
      expect(of('ServiceAccount')).toBeDefined();
      expect(of('PodDisruptionBudget')).toMatchObject({ spec: { maxUnavailable: 1, selector: spec.selector } });
      expect(pod.topologySpreadConstraints[0].labelSelector.matchLabels).toEqual(spec.selector.matchLabels);
      expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(25 + 10);
    }
  });

  it('denies all traffic that is not opened', () => {
    const policies = render(folder).filter(({ kind }) => kind === 'NetworkPolicy');
    expect(policies).toContainEqual(
      expect.objectContaining({ spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } }),
    );
  });

  it('asks for the daily run once a day, and never twice at a time', () => {
    expect(render(folder).find(({ kind }) => kind === 'CronJob')).toMatchObject({
      spec: { timeZone: 'Etc/UTC', concurrencyPolicy: 'Forbid', startingDeadlineSeconds: 3600 },
    });
  });

  it('sets only settings that there are', () => {
    const known = new Set(
      [...readFileSync(path.join(root, 'docs/operations.md'), 'utf8').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(
        ([, name]) => name,
      ),
    );
    for (const name of ['AWS_ENDPOINT_URL_DYNAMODB', 'AWS_ENDPOINT_URL_S3', 'GLUE_ROLE_ARN']) known.add(name);
    known.add('SETUP_IMAGE'); // no setting: it has another version have another name
    const { data } =
      render(folder).find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.startsWith('music-settings')) ??
      {};
    expect(Object.keys(data as object).filter((name) => !known.has(name))).toEqual([]);
  });
});

it('manifests and Dockerfiles have no setting that is known to be bad', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'lint-'));
  try {
    for (const overlay of ['local', 'aws'])
      writeFileSync(
        path.join(dir, `${overlay}.yaml`),
        render(`k8s/overlays/${overlay}`)
          .map((manifest) => stringify(manifest))
          .join('---\n'),
      );
    for (const image of ['', 'spark', 'stack']) {
      mkdirSync(path.join(dir, 'docker', image), { recursive: true });
      cpSync(path.join(root, 'docker', image, 'Dockerfile'), path.join(dir, 'docker', image, 'Dockerfile'));
    }
    const { status, stdout, stderr } = spawnSync(
      path.join(root, '.stack/lint-venv/bin/checkov'),
      ['--config-file', path.join(root, '.checkov.yaml'), '--directory', dir],
      { encoding: 'utf8', env: { ...process.env, LOG_LEVEL: 'ERROR' } },
    );
    expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/Passed checks: \d{3,}, Failed checks: 0/), '']);
  } finally {
    rmSync(dir, { recursive: true });
  }
}, 120_000);

it('lets callers reach the API, and nothing else, from outside the pipeline', () => {
  for (const overlay of ['local', 'aws']) {
    const policies = render(`k8s/overlays/${overlay}`).filter(
      ({ kind, spec }) => kind === 'NetworkPolicy' && JSON.stringify(spec.ingress ?? '').includes('namespaceSelector'),
    );
    expect(policies.map(({ metadata }) => metadata.name).sort()).toEqual(['allow-api', 'allow-metrics']);
    const api = policies.find(({ metadata }) => metadata.name === 'allow-api')?.['spec'];
    expect(api.podSelector.matchLabels).toMatchObject({ 'app.kubernetes.io/component': 'api' });
    expect(api.ingress).toEqual([{ from: [{ namespaceSelector: {} }], ports: [{ protocol: 'TCP', port: 8090 }] }]);
  }
});

it.each(['ingress', 'http-route'])('component %s leads to the port of the API', (component) => {
  const manifests = renderWith(component);
  const way = JSON.stringify(manifests.find(({ kind }) => kind === 'Ingress' || kind === 'HTTPRoute')?.['spec']);
  const service = manifests.find(({ kind, metadata }) => kind === 'Service' && metadata.name === 'api')?.['spec'];
  expect(way).toContain('"name":"api"');
  expect(way).toContain(
    component === 'ingress' ? `"name":"${service.ports[0].name}"` : `"port":${service.ports[0].port}`,
  );
  const { spec } = manifests.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'api') ?? {};
  expect(spec.template.spec.containers[0].ports).toContainEqual({
    name: service.ports[0].targetPort,
    containerPort: 8090,
  });
  expect(service.selector).toEqual(spec.selector.matchLabels);
});

it('has dashboard and alerts about metrics that there are', () => {
  const folders = ['libs/service', ...readdirSync(path.join(root, 'apps')).map((app) => `apps/${app}`)]
    .map((folder) => path.join(root, folder, 'src'))
    .filter((folder) => existsSync(folder));
  const sources = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(path.join(folder, file), 'utf8')),
  );
  const names = new Set(sources.flatMap((text) => [...text.matchAll(/'(music_[a-z_]+)'/g)].map(([, name]) => name)));
  const files = ['monitoring/alerts.yaml', 'monitoring/dashboard.json', 'keda/scaled-objects.yaml'].map((file) =>
    readFileSync(path.join(root, 'k8s/components', file), 'utf8'),
  );
  const asked = new Set(
    files.flatMap((text) =>
      [...text.matchAll(/music_[a-z_]+/g)].map(([name]) => name.replace(/_(bucket|count|sum)$/, '')),
    ),
  );
  expect([...asked].filter((name) => !names.has(name))).toEqual([]);
  expect(names.size).toBeGreaterThan(5);
  for (const alert of (files[0] ?? '').matchAll(/alert: (\w+)/g))
    expect(readFileSync(path.join(root, 'docs/operations.md'), 'utf8')).toContain(`\`${alert[1]}\``);
});

it.each(['keda', 'keda-dynamodb'])('component %s fits the schema of KEDA, with no field too many', (component) => {
  const { spec } = parse(readFileSync(path.join(root, 'k8s/schemas/keda.sh_scaledobjects.yaml'), 'utf8')) as Manifest;
  const [{ schema }] = spec.versions;
  const fits = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(
    closed(schema.openAPIV3Schema),
  );
  const scaled = renderWith(component).filter(({ kind }) => kind === 'ScaledObject');
  expect(scaled).toHaveLength(2);
  for (const manifest of scaled) expect([fits(manifest), fits.errors]).toEqual([true, null]);
  expect(fits({ ...scaled[0], spec: { ...scaled[0]?.['spec'], minReplicas: 1 } })).toBe(false);
});
/** The schema, with no fields but those that it names. Kubernetes itself would drop the others without a word. */
function closed(schema: Manifest): Manifest {
  if (Array.isArray(schema)) return schema.map((each: Manifest) => closed(each));
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner: Record<string, unknown> = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [name, closed(value as Manifest)]),
  );
  const isOpen = inner['properties'] === undefined || inner['x-kubernetes-preserve-unknown-fields'] === true;
  return isOpen || typeof inner['type'] !== 'string' ? inner : { additionalProperties: false, ...inner };
}

it.each(['combiner', 'validator', 'glue-trigger'])('%s has the memory that docs/operations.md says', (service) => {
  const deployment = render('k8s/base').find(
    ({ kind, metadata }) => kind === 'Deployment' && metadata.name === service,
  );
  const [{ env, resources }] = podSpecOf(deployment ?? {}).containers;
  const duckdb = Number(env.find(({ name }: Manifest) => name === 'DUCKDB_MEMORY_MB').value);
  const mib = { Mi: 1, Gi: 1_024 } as const;
  const [, amount, unit] = /^(\d+)(Mi|Gi)$/.exec(resources.limits.memory) ?? [];
  expect(Number(amount) * mib[unit as 'Mi']).toBeGreaterThanOrEqual(256 + 2 * duckdb);
});

it('names the Jobs of other settings and of another version otherwise, since a Job cannot be changed', () => {
  const jobsOf = (name: string, kustomization: object) => {
    const jobs = renderOf(name, kustomization).filter(({ kind }) => kind === 'Job');
    return jobs.map(({ metadata }) => metadata.name as string).sort();
  };
  const resources = ['../../overlays/local'];
  const [samples, setup] = jobsOf('jobs', { resources });
  expect([samples, setup]).toEqual([
    expect.stringMatching(/^load-samples-[a-z0-9]{10}$/),
    expect.stringMatching(/^music-settings-[a-z0-9]{10}$/),
  ]);
  expect(jobsOf('jobs-again', { resources })).toEqual([samples, setup]);
  const merged = { name: 'music-settings', behavior: 'merge', literals: ['SWEEP_SECONDS=7'] };
  const others = jobsOf('jobs-of-other-settings', { resources, configMapGenerator: [merged] });
  expect([others[0], others[1] === setup]).toEqual([samples, false]);
});

describe('alarms', () => {
  const monitoring = path.join(root, 'k8s/components/monitoring');
  const read = (file: string) => parse(readFileSync(path.join(monitoring, file), 'utf8')) as Manifest;
  const rules = read('alerts.yaml')['spec'];
  const alerts: string[] = rules.groups.flatMap(({ rules }: Manifest) =>
    rules.flatMap(({ alert }: Manifest) => (alert === undefined ? [] : [alert])),
  );

  it('ring, do not ring and end as their unit tests have it', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'alarms-'));
    try {
      writeFileSync(path.join(dir, 'rules.yaml'), stringify(rules));
      cpSync(path.join(monitoring, 'alerts.test.yaml'), path.join(dir, 'alerts.test.yaml'));
      for (const args of [
        ['check', 'rules', '--lint=all', '--lint-fatal', 'rules.yaml'],
        ['test', 'rules', 'alerts.test.yaml'],
      ]) {
        const { status, stdout, stderr } = spawnSync(prometheusProgram('promtool'), args, {
          cwd: dir,
          encoding: 'utf8',
        });
        expect([status, stdout + stderr]).toEqual([0, expect.stringContaining('SUCCESS')]);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it.each(alerts)('%s is tested before it rings, while it rings and after', (alert) => {
    const tests = (read('alerts.test.yaml')['tests'] as Manifest[]).map(({ alert_rule_test = [] }) =>
      alert_rule_test
        .filter(({ alertname }: Manifest) => alertname === alert)
        .map(({ exp_alerts }: Manifest) => (exp_alerts.length > 0 ? 'rings' : 'quiet'))
        .join(' '),
    );
    expect(tests).toContainEqual(expect.stringMatching(/quiet (rings )+quiet/));
  });
});

it.each(['keda', 'keda-dynamodb'])('component %s scales Deployments by the work that they have', (component) => {
  const manifests = renderWith(component);
  const deployments = manifests.filter(({ kind }) => kind === 'Deployment').map(({ metadata }) => metadata.name);
  const scaled = manifests.filter(({ kind }) => kind === 'ScaledObject');
  expect(scaled.map(({ metadata }) => metadata.name).sort()).toEqual(['combiner', 'validator']);
  for (const { metadata, spec } of scaled) {
    expect(deployments).toContain(spec.scaleTargetRef.name);
    expect(spec.scaleTargetRef.name).toBe(metadata.name);
    const [{ type, metadata: trigger }] = spec.triggers;
    if (type === 'prometheus')
      expect(trigger.query).toMatch(new RegExp(`music_work\\{stage="${metadata.name}",state=`));
    else {
      expect(type).toBe('aws-dynamodb');
      expect(JSON.parse(trigger.expressionAttributeNames)).toEqual({ '#pk': 'pk' });
      expect(JSON.parse(trigger.expressionAttributeValues)).toEqual({ ':pk': { S: `work#${metadata.name}` } });
    }
  }
});

it('has set-up put script and models of the job into the lake, where Glue runs it', () => {
  const jobs = render('k8s/overlays/aws').filter(({ kind }) => kind === 'Job');
  expect(jobs.map(({ spec }) => spec.template.spec.containers[0].args)).toEqual([
    ['setup', '--glue', '--patience', '300'],
  ]);
});

it('has the checks that are there by default as a file of its own', () => {
  const file = (name: string) => readFileSync(path.join(root, name), 'utf8');
  expect(file('k8s/base/glue-trigger/checks.yaml')).toBe(file('glue/checks/checks.yaml'));
});
