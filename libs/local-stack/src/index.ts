export * from './child-process';
export * from './clients';
export * from './glue-endpoint';
export * from './local-stack';
export * from './until';
export * from './workspace';
export * from './s3-notification';
export * from './prometheus';
