module.exports = {
  displayName: '@music/local-pipeline',
  preset: '../../jest.preset.js',
  coverageDirectory: 'coverage',
};
