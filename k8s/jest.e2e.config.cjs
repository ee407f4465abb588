module.exports = { ...require('./jest.config.cjs'), testMatch: ['<rootDir>/src/**/*.e2e.ts'], maxWorkers: 1 };
