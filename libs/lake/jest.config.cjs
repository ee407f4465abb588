module.exports = { displayName: '@music/lake', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
