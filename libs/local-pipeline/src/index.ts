export * from './local-pipeline';
export * from './music-kpis';
export * from './reference';
export * from './samples';
export * from './snapshot';
export * from './newer-release';
