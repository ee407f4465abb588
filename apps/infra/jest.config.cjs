module.exports = { displayName: '@music/infra', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
