/**
 * What users test with: suites for drivers, and more to come.
 */
export {}
