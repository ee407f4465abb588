export * from './compact-day';
export * from './lake-day';
export * from './place-listens';
