// The built package is loaded as Node loads it: what browsers get is not what a bundler would make of it.
export default {
  test: {
    include: ['*.test.mjs'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    server: { deps: { external: [/\/built\//] } },
  },
};
