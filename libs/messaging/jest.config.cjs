module.exports = { displayName: '@music/messaging', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
