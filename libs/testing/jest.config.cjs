module.exports = { displayName: '@music/testing', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
