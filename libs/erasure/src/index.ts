export * from './erase';
export * from './erasure-key';
export * from './forgotten';
export * from './keep-days';
export * from './report';
