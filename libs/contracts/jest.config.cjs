module.exports = { displayName: '@music/contracts', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
