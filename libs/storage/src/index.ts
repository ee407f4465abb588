export * from './delivery';
export * from './download';
export * from './object-key';
export * from './object-store';
export * from './room';
