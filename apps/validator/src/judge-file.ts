import {
  type Contract,
  FILE_REASONS,
  type FileReason,
  ambiguousColumns,
  missingColumns,
  totalOf,
} from '@music/contracts';
import type { FileEvidence } from '@music/runs';

export interface Limits {
  /** Share of rejected rows, 0 to 1, that a file may have. */
  readonly rejectedShare: number;
}

export type Verdict =
  { readonly passed: true } | { readonly passed: false; readonly reason: FileReason; readonly detail: string };

/** A rejected time that may count seconds or milliseconds. */
const EPOCH = /invalid_listen_time "-?\d+(\.\d+)?"$/;

/** Judges a file by its header and its counted defects. Pure: same evidence, same verdict. */
export function judgeFile(evidence: FileEvidence, contract: Contract, limits: Limits): Verdict {
  const rejected = (reason: FileReason, detail = ''): Verdict => ({ passed: false, reason, detail });
  if (evidence.defect !== undefined) return rejected(evidence.defect, evidence.detail);
  const header = `the header is ${JSON.stringify(evidence.columns).slice(0, 300)}`;
  const missing = missingColumns(contract, evidence.columns);
  if (missing.length > 0) {
    const [only = ''] = evidence.columns;
    const hint = evidence.columns.length === 1 && /[;\t|]/.test(only) ? '; CSV_DELIMITER=auto finds its delimiter' : '';
    return rejected('missing_columns', `${missing.join(', ')} missing; ${header}${hint}`);
  }
  const ambiguous = ambiguousColumns(contract, evidence.columns);
  if (ambiguous.length > 0) return rejected('duplicate_columns', `${ambiguous.join(', ')} more than once; ${header}`);
  if (evidence.rows === 0) return rejected('no_rows');
  // That a user is forgotten is no fault of the file.
  const { forgotten_user: _, ...rejectedRows } = evidence.rejected;
  const bad = totalOf(rejectedRows);
  if (bad / evidence.rows > limits.rejectedShare) {
    const { examples = [] } = evidence;
    const counts = Object.entries(rejectedRows)
      .map(([reason, n]) => `${n} ${reason}`)
      .join(', ');
    return rejected(
      'too_many_bad_rows',
      [
        `${bad} of ${evidence.rows} rows: ${counts}; the limit is ${limits.rejectedShare * 100} %`,
        ...(examples.length === 0 ? [] : [`the first: ${examples.join(', ')}`]),
        ...(examples.some((example) => EPOCH.test(example))
          ? ['a time that is a number is read where LISTEN_TIME_EPOCH says what it counts, s or ms']
          : []),
      ].join('; '),
    );
  }
  return { passed: true };
}

/** What is wrong with all files of a kind that a run cannot do without, for a person; nothing where they are usable. */
export function judgeTables(
  kind: 'songs' | 'users',
  files: readonly FileEvidence[],
  contract: Contract,
  limits: Limits,
): string[] {
  if (files.length === 0)
    return [`there is no file below ${kind}/: put one there with the columns ${contract.required.join(', ')}`];
  return files.flatMap((file) => {
    const verdict = judgeFile(file, contract, limits);
    return verdict.passed
      ? []
      : [
          `${file.key}: ${verdict.reason}: ${verdict.detail === '' ? '' : `${verdict.detail}; `}${FILE_REASONS[verdict.reason]}`,
        ];
  });
}
