import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { workspaceRoot } from '@music/local-stack';
import { CHART, HELM, type Manifest, helmTemplate, render } from './render';

const root = workspaceRoot();
const settingsEnv = path.join(root, 'k8s/overlays/aws/settings.env');
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

if (HELM === undefined) it.todo('the chart: left out, since there is no helm here');
else
  describe('the chart', () => {
    it('is the overlay for AWS, but for what is named here', () => {
      const overlay = render('k8s/overlays/aws')
        .filter(({ kind }) => kind !== 'Namespace') // Helm makes it: --create-namespace
        .map((rendered) => {
          const manifest = structuredClone(rendered);
          delete manifest['metadata'].namespace; // Helm's --namespace
          if (manifest['kind'] === 'Job') manifest['metadata'].name = 'setup'; // named by a hash, in both
          if (manifest['data']?.SETUP_IMAGE !== undefined) delete manifest['data'].SETUP_IMAGE; // only for that hash
          return unhashed(manifest);
        });
      const chart = render(CHART).map((rendered) => {
        const manifest = structuredClone(rendered);
        if (manifest['kind'] === 'Job') manifest['metadata'].name = 'setup';
        // What kustomize does with the names of config maps: new settings start new pods.
        const { annotations = {} } = manifest['spec']?.template?.metadata ?? {};
        for (const name of Object.keys(annotations)) if (name.startsWith('checksum/')) delete annotations[name];
        if (Object.keys(annotations).length === 0) delete manifest['spec']?.template?.metadata?.annotations;
        return manifest;
      });
      expect(byName(chart)).toEqual(byName(overlay));
      expect(overlay.length).toBeGreaterThan(25);
    });

    it('is one that Helm has nothing against', () => {
      const { status, stdout } = spawnSync(HELM as string, ['lint', '--strict', path.join(root, CHART)], {
        encoding: 'utf8',
      });
      expect([status, stdout]).toEqual([0, expect.stringContaining('0 chart(s) failed')]);
    });

    it('takes what `npm run infra -- settings` prints, as it is', () => {
      const settings = helmTemplate(['--set-file', `settingsEnv=${settingsEnv}`]).find(isSettings)?.['data'];
      const lines = readFileSync(settingsEnv, 'utf8').split('\n');
      for (const line of lines.filter((each) => each !== '' && !each.startsWith('#'))) {
        const [name = '', ...value] = line.split('=');
        expect([name, settings[name]]).toEqual([name, value.join('=')]);
      }
      expect(settings['KPI_TIME_ZONE']).toBe('UTC');
      expect(() => helmTemplate(['--set-string', 'settingsEnv=what is this'])).toThrow(
        'settingsEnv: "what is this" is not NAME=value',
      );
    });

    it('has images by digest, secrets of other names, more environment and annotations, and no operators', () => {
      const manifests = templateOf({
        images: { digests: { combiner: DIGEST }, pullSecrets: [{ name: 'registry' }] },
        existingSecrets: { settings: 'mine' },
        extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy' }],
        podAnnotations: { team: 'data' },
        nodeSelector: { pool: 'data' },
        tolerations: [{ key: 'data', operator: 'Exists' }],
        serviceAccountAnnotations: { combiner: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::111122223333:role/x' } },
        services: { combiner: { replicas: 4, extraEnv: [{ name: 'BATCH_MB', value: '64' }] } },
        keda: { enabled: false },
        monitoring: { enabled: false },
      });
      const kinds = new Set(manifests.map(({ kind }) => kind));
      for (const kind of ['ScaledObject', 'PodMonitor', 'PrometheusRule']) expect(kinds).not.toContain(kind);
      const of = (kind: string) =>
        manifests.find((each) => each['kind'] === kind && each['metadata'].name === 'combiner') ?? {};
      expect(of('ServiceAccount')['metadata'].annotations).toEqual({
        'eks.amazonaws.com/role-arn': 'arn:aws:iam::111122223333:role/x',
      });
      const { replicas, template } = of('Deployment')['spec'];
      const [container] = template.spec.containers;
      expect([replicas, container.image]).toEqual([
        4,
        `111122223333.dkr.ecr.eu-west-1.amazonaws.com/music/combiner@${DIGEST}`,
      ]);
      expect(template.metadata.annotations).toMatchObject({ team: 'data' });
      expect(template.spec).toMatchObject({
        imagePullSecrets: [{ name: 'registry' }],
        nodeSelector: { pool: 'data' },
        tolerations: [{ key: 'data', operator: 'Exists' }],
      });
      expect(container.env).toEqual(
        expect.arrayContaining([
          { name: 'HTTPS_PROXY', value: 'http://proxy' },
          { name: 'BATCH_MB', value: '64' },
        ]),
      );
      for (const { kind, spec } of manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job'))
        expect([kind, spec.template.spec.containers[0].envFrom[1].secretRef]).toEqual([
          kind,
          { name: 'mine', optional: true },
        ]);
    });

    it('names the Job of other settings or of another version otherwise, and starts pods anew with other settings', () => {
      const told = (values: object) => {
        const manifests = templateOf(values);
        const { metadata } = manifests.find(({ kind }) => kind === 'Job') ?? {};
        const { spec } = manifests.find(({ kind }) => kind === 'Deployment') ?? {};
        return [metadata.name, spec.template.metadata.annotations['checksum/settings']];
      };
      const [job, settings] = told({});
      expect(job).toMatch(/^setup-[0-9a-f]{10}$/);
      expect(told({})).toEqual([job, settings]);
      expect(told({ images: { tag: '0.2.0' } })).toEqual([expect.not.stringMatching(job), settings]);
      const other = told({ settings: { LOG_LEVEL: 'debug' } });
      expect([other[0] === job, other[1] === settings]).toEqual([false, false]);
    });

    it.each([
      ['a setting that is no text', { settings: { BATCH_MB: 64 } }, /settings.BATCH_MB/],
      ['a value that there is not', { service: { sensor: {} } }, /service is not allowed/],
      ['a service that there is not', { services: { sensors: {} } }, /sensors is not allowed/],
      ['the tag latest', { images: { tag: 'latest' } }, /images.tag/],
      ['a digest that is none', { images: { digests: { cli: 'latest' } } }, /images.digests.cli/],
      ['no limit of memory', { services: { api: { resources: { limits: { memory: null } } } } }, /memory is required/],
    ])('%s is refused, and says where', (_, values, message) => {
      expect(() => templateOf(values)).toThrow(message);
    });
  });

const isSettings = ({ kind, metadata }: Manifest) => kind === 'ConfigMap' && metadata.name === 'music-settings';

function templateOf(values: object): Manifest[] {
  const dir = mkdtempSync(path.join(tmpdir(), 'chart-'));
  try {
    writeFileSync(path.join(dir, 'values.json'), JSON.stringify(values));
    return helmTemplate(['--values', path.join(dir, 'values.json')]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Without the hashes that kustomize has in the names of config maps. */
const unhashed = (manifest: Manifest): Manifest =>
  JSON.parse(
    JSON.stringify(manifest).replace(
      /"music-(settings|checks|dashboard)-[0-9a-z]{10}"/g,
      (_, name) => `"music-${name}"`,
    ),
  );

/** By kind and name; what has names in a list has no order there, and who manages it is said by both in their way. */
function byName(manifests: Manifest[]): Record<string, Manifest> {
  return Object.fromEntries(
    manifests.map((manifest) => [`${manifest['kind']} ${manifest['metadata'].name}`, ordered(manifest) as Manifest]),
  );
}
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(ordered);
    const nameOf = (item: unknown) => (item as { name?: string })?.name;
    return items.every((item) => typeof nameOf(item) === 'string')
      ? items.sort((a, b) => (String(nameOf(a)) < String(nameOf(b)) ? -1 : 1))
      : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => name !== 'app.kubernetes.io/managed-by');
  return Object.fromEntries(fields.map(([name, field]) => [name, ordered(field)]));
}
