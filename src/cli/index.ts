/**
 * The command line for operators, as `npx eventsourcing` and inside of a program.
 */
export * as Cli from "./Cli.ts"
