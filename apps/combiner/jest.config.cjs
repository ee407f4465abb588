module.exports = { displayName: '@music/combiner', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
