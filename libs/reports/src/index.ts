export * from './day-report';
export * from './request-run';
export * from './run-report';
export * from './run-text';
export * from './text';
