module.exports = {
  displayName: '@music/faults',
  preset: '../../jest.preset.js',
  coverageDirectory: 'coverage',
  maxWorkers: 1, // each spec has a whole pipeline; tools/faults.mjs has two at a time
  reporters: ['default', '<rootDir>/fault-table.cjs'],
};
