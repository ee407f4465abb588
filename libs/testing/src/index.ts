export * from './child-process';
export * from './local-stack';
export * from './workspace';
