module.exports = { displayName: '@music/errors', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
