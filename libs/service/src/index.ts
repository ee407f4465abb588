export * from './engine-config';
export * from './logger';
export * from './metrics';
export * from './service-config';
export * from './set-up';
export * from './settings';
export * from './start-stage';
export * from './stores';
