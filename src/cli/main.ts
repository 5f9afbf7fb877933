#!/usr/bin/env node
/** `npx eventsourcing`: all commands that need a database only. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import { libraryVersion } from "../lifecycle/archiveFormat.ts"
import * as Cli from "./Cli.ts"

Cli.make().pipe(Cli.run({ version: libraryVersion }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
