// Jest: a .sql file is a module whose default export is its text, as in the bundles.
module.exports = {
  process: (text) => ({ code: `module.exports = { __esModule: true, default: ${JSON.stringify(text)} };` }),
};
