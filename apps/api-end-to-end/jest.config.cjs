module.exports = {
  displayName: '@music/api-end-to-end',
  preset: '../../jest.preset.js',
  coverageDirectory: 'coverage',
};
