module.exports = { displayName: '@music/runs', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
