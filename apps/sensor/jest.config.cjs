module.exports = { displayName: '@music/sensor', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
