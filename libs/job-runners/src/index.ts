// Runners that need a client which takes much memory have an entry each: see package.json.
export * from './duckdb-runner';
export * from './glue-job-definition';
export * from './job-runner';
export { MODELS_VERSION } from './kpi-models';
export * from './spark-job';
