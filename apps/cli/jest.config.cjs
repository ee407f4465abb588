module.exports = { displayName: '@music/cli', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
