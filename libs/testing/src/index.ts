export * from './child-process';
export * from './clients';
export * from './fault-proxies';
export * from './glue-endpoint';
export * from './local-stack';
export type * from './server-call';
export * from './until';
export * from './workspace';
