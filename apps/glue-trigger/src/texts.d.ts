// Texts of glue/ are modules: bundles and Jest give their content.
declare module '*.sql' {
  const sql: string;
  export default sql;
}
declare module '*.yaml' {
  const yaml: string;
  export default yaml;
}
