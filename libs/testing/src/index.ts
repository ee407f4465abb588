export * from './child-process';
export * from './glue-endpoint';
export * from './local-stack';
export * from './workspace';
