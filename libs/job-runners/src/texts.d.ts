// Texts of glue/ are modules: bundles and Jest give their content.
declare module '*.sql' {
  const sql: string;
  export default sql;
}
declare module '*.py' {
  const script: string;
  export default script;
}
