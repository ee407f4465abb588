module.exports = { displayName: '@music/duckdb', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
