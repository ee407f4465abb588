module.exports = { displayName: '@music/api', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
