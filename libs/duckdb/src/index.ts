export * from './duckdb';
