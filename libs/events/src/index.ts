export * from './asked-again';
import 'reflect-metadata';

export * from './batch-combined';
export * from './batch-event';
export * from './envelope';
export * from './kpis-published';
export * from './object-ref';
export * from './run-completed';
export * from './run-failed';
export * from './run-rejected';
export * from './run-requested';
export * from './run-skipped';
export * from './run-validated';
export * from './stage';
export * from './stage-event';
export * from './streams-sensed';
export * from './topics';
export * from './trace-context';
