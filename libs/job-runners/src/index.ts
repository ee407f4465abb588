export * from './duckdb-runner';
export * from './glue-job-definition';
export * from './glue-runner';
export * from './job-runner';
export { MODELS_VERSION } from './kpi-models';
export * from './spark-job';
export * from './spark-kubernetes-runner';
