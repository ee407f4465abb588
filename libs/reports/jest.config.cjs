module.exports = { displayName: '@music/reports', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
