export * from './compact-day';
export * from './delivered-rows';
export * from './find-deliveries';
export * from './lake-day';
export * from './left-out';
export * from './place-listens';
export * from './placed-days';
