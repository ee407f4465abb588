module.exports = { displayName: '@music/erasure', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
