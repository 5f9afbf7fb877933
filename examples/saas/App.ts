/**
 * The composition of the service, on any database and for any tokens.
 */
import type { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import {
  EventStore,
  type ProjectionError,
  ProjectionRunner,
  ProjectionManager,
  Repository,
  Telemetry,
  TenantRegistry
} from "effect-eventsourcing"
import { CorrelationId, TenantMiddleware, type TenantResolver } from "effect-eventsourcing/http"
import { Inspector } from "effect-eventsourcing/inspector"
import { Actions, Operations } from "effect-eventsourcing/operations"
import { PgMigrator, PgStorage } from "effect-eventsourcing/pg"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import type { SqlClient, SqlError } from "effect/sql"
import { Api } from "./Api.ts"
import * as Docs from "./Docs.ts"
import * as Handlers from "./Handlers.ts"
import { Order } from "./Order.ts"
import * as OrderTable from "./OrderTable.ts"
import * as Server from "./Server.ts"

/** Tenants are registered at sign-up, by `TenantRegistry.provision`, and not by their first append. */
const Storage = PgStorage.layerWith({ provisionOnAppend: false })

/** The services of commands, queries and projections. Each call has a tenant; no layer does. */
const Store = Layer.mergeAll(Repository.layer, ProjectionManager.layer, TenantRegistry.layer).pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provideMerge(Storage)
)

/** Runs the projection in this process. Any number of processes may: they share the work. */
const Runner = ProjectionRunner.layer({ projections: [OrderTable.OrderTable] }).pipe(
  Layer.provide(OrderTable.layer)
)

/** The services of handlers, besides the tenant, which only the middleware provides. */
type Services =
  | EventStore.EventStore
  | ProjectionManager.ProjectionManager
  | Repository.Repository
  | SqlClient.SqlClient

/** The endpoints, their description at `/openapi.json`, and a page to try them at `/docs`, with tokens to choose from. */
const endpoints = (tokens: ReadonlyArray<Docs.Token>) =>
  Layer.unwrap(
    Effect.map(Effect.context<Services>(), (services) =>
      Layer.mergeAll(
        HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }),
        Docs.layer(Api, tokens),
        CorrelationId.layer
      ).pipe(Layer.provide(Handlers.layer), HttpRouter.provideRequest(Layer.succeedContext(services)))
    )
  ).pipe(Layer.provide(TenantMiddleware.layer), Layer.provide(HttpServer.layerServices))

/** `GET /metrics` for Prometheus. No metric has a tenant. */
const Metrics = PrometheusMetrics.layerHttp({ metricNameMapper: Telemetry.prometheusName })

const Operating = Layer.merge(
  Operations.layer({ aggregates: [Order], projections: [OrderTable.OrderTable] }),
  Actions.layer({ projections: [OrderTable.OrderTable] })
)

/** The inspector at `/inspector/`, for the operator who has the token of the session. */
const inspector = ({ authorize, routes }: Inspector.Session) =>
  Layer.merge(Inspector.layer({ path: "/inspector", authorize }).pipe(Layer.provide(Operating)), routes)

/** The running service, the registry of its tenants, and their events. */
export const layer = <E1, E2>(options: {
  readonly port: number
  readonly database: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, E1>
  readonly resolver: Layer.Layer<TenantResolver.TenantResolver, E2>
  /** Tokens to choose from on the page. Default: none. */
  readonly tokens?: ReadonlyArray<Docs.Token>
  /** The way into the inspector. Default: there is no inspector. */
  readonly session?: Inspector.Session
}): Layer.Layer<
  Server.Server | TenantRegistry.TenantRegistry | EventStore.EventStore,
  | E1
  | E2
  | Server.CannotListen
  | PgMigrator.MigrationError
  | PgStorage.PgStorageError
  | ProjectionError.ProjectionRefused
  | SqlError.SqlError
> =>
  Server.layer(
    HttpRouter.toHttpEffect(
      Layer.mergeAll(
        endpoints(options.tokens ?? []),
        Metrics,
        options.session === undefined ? Layer.empty : inspector(options.session)
      )
    ),
    options
  ).pipe(
    Layer.merge(Runner),
    Layer.provideMerge(Store),
    Layer.provide(PgMigrator.layer),
    Layer.provide(options.database),
    // Built first, so that nothing starts if the resolver cannot be built.
    Layer.provide(options.resolver)
  )
