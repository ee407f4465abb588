module.exports = { displayName: '@music/events', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
