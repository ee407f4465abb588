import { type Decision, type ErasureRequest, type StandingRequest, describeFinding } from '@music/runs';
import type { FileReport, RunReport } from './run-report';
import { describeProgress } from './run-progress';
import { number, printable, table } from './text';

const MAX_FILES = 20;

/** A run for people: what each stage did, the files that need a look, and the rows. */
export function describeRun(run: RunReport): string {
  const lines = [
    `run ${run.run_id} for ${run.logical_date}: ${run.state}${run.seconds === undefined ? '' : ` after ${number(run.seconds)} s`}`,
  ];
  if (run.requested_by !== undefined) lines.push(`  asked for by ${printable(run.requested_by)}`);
  if (run.standing !== undefined) lines.push(`  ${printable(describeStanding(run.standing))}`);
  if (run.progress !== undefined) lines.push(`  now: ${describeProgress(run.progress)}`);
  if (run.erasure !== undefined) lines.push(`  ${describeErasure(run.erasure)}`);
  for (const finding of run.findings) lines.push(`  ${printable(describeFinding(finding))}`);
  if (run.state === 'held')
    lines.push(
      `  held: \`music-kpis release ${run.run_id}\` publishes it, \`music-kpis discard ${run.run_id} --reason …\` takes it back`,
    );
  if (run.decision !== undefined) lines.push(`  ${printable(describeDecision(run.decision))}`);
  for (const { stage, since } of run.stalled ?? []) lines.push(`  stalled: ${stage} has got nowhere since ${since}`);
  for (const reason of run.reasons) lines.push(`  reason: ${printable(reason)}`);
  const stages = run.stages.filter(({ started_at }) => started_at !== undefined);
  if (stages.length > 0)
    lines.push(
      '',
      table(
        ['stage', 'started', 'seconds'],
        stages.map(({ stage, started_at, seconds }) => [stage, started_at, seconds]),
      ),
    );
  if (run.files.length > 0) lines.push('', ...describeFiles(run.files));
  const { read, kept, rejected } = run.rows;
  lines.push(
    '',
    `rows: ${number(read)} read, ${number(kept)} kept${Object.entries(rejected)
      .sort()
      .map(([reason, n]) => `, ${number(n)} ${reason}`)
      .join('')}`,
  );
  const { unknownTrackListens = 0, unknownUserListens = 0, unreadableDurations = 0 } = run.notes ?? {};
  if (run.notes !== undefined)
    lines.push(
      `      ${number(unknownTrackListens)} of unknown tracks, ${number(unknownUserListens)} of unknown users; ${number(unreadableDurations)} songs without a readable duration`,
    );
  const problem = run.job?.message ?? run.job?.waiting;
  if (run.job !== undefined)
    lines.push(
      `job:  ${run.job.engine}, ${run.job.jobRunId ?? 'not started'}${run.job.seconds === undefined ? '' : `, ${number(run.job.seconds)} s`}${problem === undefined ? '' : `: ${printable(problem)}`}`,
      ...(run.job.logs === undefined ? [] : [`      logs: ${run.job.logs}`]),
    );
  if (run.days.length > 0)
    lines.push(
      `days: ${run.days.length > 10 ? `${run.days.length}, ${run.days[0]} to ${run.days.at(-1)}` : run.days.join(', ')} (version ${run.version})`,
    );
  return lines.join('\n');
}

function describeErasure({ what, users = 0, archive, before, report }: ErasureRequest): string {
  const told = report === undefined ? '' : `; report: s3://${report.bucket}/${report.key}`;
  if (what === 'expire') return `listens of days before ${before} leave the lake${told}`;
  const files = archive === 'delete' ? ', with their archived files' : '';
  return `forgets ${users === 1 ? '1 user' : `${number(users)} users`}${files}${told}`;
}

function describeDecision({ what, at, by, reason }: Decision): string {
  const done = what === 'release' ? 'released' : 'discarded';
  return `${done}${by === undefined ? '' : ` by ${by}`}, ${at}${reason === undefined ? '' : `: ${reason}`}`;
}

/** What a run takes back or gives back, for people. */
export function describeStanding({ change, deliveries, key, version, ofRun, reason }: StandingRequest): string {
  const what = { retract: 'takes back', restore: 'gives back', replace: 'replaces' }[change];
  const which = ofRun !== undefined ? ` of ${ofRun}` : key === undefined ? '' : ` of ${key}`;
  const howMany =
    deliveries === undefined ? 'deliveries' : deliveries === 1 ? '1 delivery' : `${number(deliveries)} deliveries`;
  return `${what} ${howMany}${which}${version === undefined ? '' : `, version ${version}`}: ${reason}`;
}

/** Files that need a look come first; of those that went well only some are shown. */
function describeFiles(files: readonly FileReport[]): string[] {
  const look = files.filter(
    ({ state, copy_of, retracted }) => state !== 'archived' || copy_of !== undefined || retracted !== undefined,
  );
  const fine = files.filter((file) => !look.includes(file));
  const shown = [...look.slice(0, 5 * MAX_FILES), ...fine.slice(0, Math.max(0, MAX_FILES - look.length))];
  const rows = shown.map((file) => [file.key, file.form, file.state, file.rows?.read, why(file)]);
  return [
    table(['file', 'form', 'state', 'rows', 'why'], rows),
    ...(shown.length < files.length ? [`… and ${number(files.length - shown.length)} more files`] : []),
  ];
}

function why({ reason, detail, copy_of, retracted, what_to_do }: FileReport): string {
  const parts = [
    reason,
    detail,
    retracted,
    copy_of === undefined ? undefined : `same content as ${copy_of}`,
    what_to_do,
  ].filter((part) => part !== undefined && part !== '');
  return parts.join(': ');
}
