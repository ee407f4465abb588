export * from './day-report';
export * from './explain';
export * from './request-run';
export * from './run-report';
export * from './run-text';
export * from './text';
export * from './follow-run';
export * from './run-progress';
