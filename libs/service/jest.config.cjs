module.exports = { displayName: '@music/service', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
