module.exports = { displayName: '@music/local', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
