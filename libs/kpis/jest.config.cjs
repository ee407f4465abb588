module.exports = { displayName: '@music/kpis', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
