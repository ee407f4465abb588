/** What one kind of input file must hold. Other columns may come, go and change order. */
export interface Contract {
  readonly kind: FileKind;
  /** Raised when a required column or its meaning changes. */
  readonly version: number;
  readonly required: readonly string[];
}

export const FILE_KINDS = ['streams', 'songs', 'users'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export const CONTRACTS = {
  streams: { kind: 'streams', version: 1, required: ['user_id', 'track_id', 'listen_time'] },
  songs: {
    kind: 'songs',
    version: 1,
    required: ['track_id', 'track_name', 'artists', 'track_genre', 'duration_ms', 'popularity'],
  },
  users: { kind: 'users', version: 1, required: ['user_id', 'user_name', 'user_country'] },
} as const satisfies Record<FileKind, Contract>;

/** Columns of the contract that `header` lacks, in the contract's order. */
export function missingColumns(contract: Contract, header: readonly string[]): string[] {
  return contract.required.filter((column) => !header.includes(column));
}

/** Required columns that `header` has more than once: which one is meant cannot be told. */
export function ambiguousColumns(contract: Contract, header: readonly string[]): string[] {
  return contract.required.filter((column) => header.indexOf(column) !== header.lastIndexOf(column));
}
