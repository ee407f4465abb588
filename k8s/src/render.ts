import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { workspaceRoot } from '@music/local-stack';

const root = workspaceRoot();

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- manifests are checked against their schemas
export type Manifest = Record<string, any>;

/** The folder of the Helm chart, which `render` takes as it takes one of kustomize. */
export const CHART = 'k8s/chart';
/** Helm's program: the one that was fetched, or the machine's own. Undefined where neither is there. */
export const HELM = [path.join(root, '.stack/helm-venv/bin/helm'), 'helm'].find((program) =>
  program.includes(path.sep) ? existsSync(program) : spawnSync(program, ['version']).error === undefined,
);

const rendered = new Map<string, Manifest[]>();

/** The manifests of a folder below the repository, as `kubectl kustomize` or `helm template` prints them. */
export function render(folder: string): Manifest[] {
  const known = rendered.get(folder);
  if (known !== undefined) return known;
  const manifests =
    folder === CHART ? helmTemplate([]) : parsed(execFileSync('kubectl', ['kustomize', path.join(root, folder)]));
  rendered.set(folder, manifests);
  return manifests;
}

/** The chart's manifests, with more arguments for Helm. Throws what Helm says of values that do not fit. */
export function helmTemplate(args: readonly string[]): Manifest[] {
  const { status, stdout, stderr } = spawnSync(
    HELM ?? 'helm',
    ['template', 'music', path.join(root, CHART), '--namespace', 'music', ...args],
    { maxBuffer: 16 * 2 ** 20 },
  );
  if (status !== 0) throw new Error(String(stderr));
  return parsed(stdout);
}

/** What a kustomization of its own renders, in a folder beside the overlays. */
export function renderOf(name: string, kustomization: object): Manifest[] {
  const folder = path.join('k8s', '.e2e', name);
  mkdirSync(path.join(root, folder), { recursive: true });
  try {
    writeFileSync(path.join(root, folder, 'kustomization.yaml'), stringify(kustomization));
    return render(folder);
  } finally {
    rmSync(path.join(root, folder), { recursive: true });
  }
}

/** The base with a component. */
export const renderWith = (component: string) =>
  renderOf(`component-${component}`, { resources: ['../../base'], components: [`../../components/${component}`] });

function parsed(text: Buffer): Manifest[] {
  const documents = parseAllDocuments(String(text)).map((document) => document.toJS() as Manifest | null);
  return documents.filter((manifest) => manifest !== null);
}
