export * from './erase';
export * from './erasure-key';
export * from './forgotten';
export * from './keep-days';
export * from './remove-for-good';
export * from './report';
