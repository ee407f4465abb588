module.exports = { displayName: '@music/storage', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
