export * from './contract';
export * from './file-reasons';
export * from './row-rules';
export * from './data-files';
