export * from './lasting-error';
