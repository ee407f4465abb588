export * from './day-kpis';
export * from './kpi-history';
export * from './kpi-items';
export * from './kpi-table';
export * from './listening-time';
