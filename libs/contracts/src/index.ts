export * from './contract';
export * from './file-reasons';
export * from './row-rules';
