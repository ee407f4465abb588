export * from './dead-letters';
export * from './kafka-client';
export * from './kafka-transport';
export * from './message-context';
export * from './outbox';
export * from './publish';
export * from './read-topics';
export * from './topics';
export type { Kafka, SASLOptions } from 'kafkajs';
