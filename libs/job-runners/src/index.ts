export * from './duckdb-runner';
export * from './job-runner';
