export * from './fault-proxies';
export * from './lab-data';
export type * from './server-call';
export type { IamNeed } from './iam-need';
