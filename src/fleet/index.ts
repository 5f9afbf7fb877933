/** Plans for the tenants of a fleet of databases, and policies for new tenants. */
export * as FleetLoad from "./FleetLoad.ts"
export * as FleetPlan from "./FleetPlan.ts"
export * as FleetPolicy from "./FleetPolicy.ts"
