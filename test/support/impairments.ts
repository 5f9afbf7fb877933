/** Changes by operators that impair the isolation of tenants in a database. */

/** A change by an operator, and the problem that must be reported. */
export interface Impairment {
  readonly statements: ReadonlyArray<string>
  readonly problems: ReadonlyArray<RegExp>
}

const bare = "tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid"

/** The same on the store's tables and on those of the user. */
const onTable = (table: string): Readonly<Record<string, Impairment>> => ({
  [`row-level security of ${table} off`]: {
    statements: [`alter table ${table} disable row level security`],
    problems: [RegExp(`^row-level security of ${table} is off$`)]
  },
  [`${table} not forced`]: {
    statements: [`alter table ${table} no force row level security`],
    problems: [RegExp(`^row-level security of ${table} is not forced on its owner$`)]
  },
  [`the restrictive policy of ${table} dropped`]: {
    statements: [`drop policy tenant_isolation on ${table}`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`both policies of ${table} dropped`]: {
    statements: [`drop policy tenant_isolation on ${table}`, `drop policy tenant_access on ${table}`],
    problems: [
      RegExp(`^policy tenant_access of ${table} is`),
      RegExp(`^policy tenant_isolation of ${table} is`)
    ]
  },
  [`a policy of ${table} altered`]: {
    statements: [`alter policy tenant_isolation on ${table} using (true)`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`the check of a policy of ${table} altered`]: {
    statements: [`alter policy tenant_isolation on ${table} with check (true)`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} for somebody else`]: {
    statements: [`alter policy tenant_isolation on ${table} to eventsourcing_all_tenants`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} for reading alone`]: {
    statements: [
      `drop policy tenant_isolation on ${table}`,
      `create policy tenant_isolation on ${table} as restrictive for select to eventsourcing_tenant using (${bare})`
    ],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} with another function of that name`]: {
    statements: [
      "create function public.current_setting(text, boolean) returns text language sql as 'select null::text'",
      `drop policy tenant_isolation on ${table}`,
      `create policy tenant_isolation on ${table} as restrictive to eventsourcing_tenant
        using (${bare.replace("current_setting", "public.current_setting")}) with check (${bare})`
    ],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a permissive policy of ${table} for public`]: {
    statements: [`create policy convenient on ${table} using (true)`],
    problems: [RegExp(`^policy convenient of ${table} lets more rows through$`)]
  },
  [`a permissive policy of ${table} for tenants and others`]: {
    statements: [
      `create policy convenient on ${table} for select to eventsourcing_tenant, eventsourcing_all_tenants using (true)`
    ],
    problems: [RegExp(`^policy convenient of ${table} lets more rows through$`)]
  },
  [`${table} owned by the role of tenants`]: {
    statements: [`alter table ${table} owner to eventsourcing_tenant`],
    problems: [RegExp(`^role eventsourcing_tenant owns table ${table}$`)]
  },
  [`${table} truncatable`]: {
    statements: [`grant truncate on ${table} to eventsourcing_tenant`],
    problems: [RegExp(`^${table} may be truncated by eventsourcing_tenant$`)]
  },
  [`a child of ${table}`]: {
    statements: [`create table public.child () inherits (${table})`],
    problems: [
      /^row-level security of public.child is off$/,
      /^row-level security of public.child is not forced/,
      /^policy tenant_isolation of public.child is/
    ]
  },
  [`a view of a superuser on ${table}`]: {
    statements: [
      `create view public.everything as select * from ${table}`,
      "grant select on public.everything to public"
    ],
    problems: [RegExp(`^view public.everything shows all rows of ${table} to everybody$`)]
  },
  [`a materialized view of ${table}`]: {
    statements: [
      `create materialized view public.everything as select * from ${table}`,
      "grant select on public.everything to eventsourcing_tenant"
    ],
    problems: [RegExp(`^view public.everything shows all rows of ${table} to everybody$`)]
  }
})

const roles: Record<string, Impairment> = {}
for (const role of [
  "eventsourcing_tenant",
  "eventsourcing_runner",
  "eventsourcing_all_tenants",
  "eventsourcing_administrator",
  "eventsourcing_runner_owner",
  "eventsourcing_all_tenants_owner",
  "eventsourcing_administrator_owner"
]) {
  for (const [attribute, said] of [
    ["superuser", "a superuser"],
    ["bypassrls", "exempt from row-level security"],
    ["login", "able to log in"]
  ] as const) {
    roles[`${role} ${attribute}`] = {
      statements: [`alter role ${role} ${attribute}`],
      problems: [RegExp(`^role ${role} is ${said}$`)]
    }
  }
  roles[`${role} a member of another role`] = {
    statements: [`grant pg_read_all_data to ${role}`],
    problems: [RegExp(`^role ${role} is a member of pg_read_all_data$`)]
  }
  roles[`${role} the owner of a table`] = {
    statements: [`alter table eventsourcing.dead_letters owner to ${role}`],
    problems: [RegExp(`^role ${role} owns table eventsourcing.dead_letters$`)]
  }
  for (const schema of ["eventsourcing", "eventsourcing_rebuild"]) {
    roles[`${role} able to create in ${schema}`] = {
      statements: [`grant create on schema ${schema} to ${role}`],
      problems: [RegExp(`^role ${role} may create in schema ${schema}$`)]
    }
  }
}

const grants: Record<string, Impairment> = {}
for (const privilege of ["update", "update (payload)", "delete"]) {
  for (const grantee of [
    "eventsourcing_tenant",
    "eventsourcing_runner",
    "eventsourcing_all_tenants",
    "public"
  ]) {
    grants[`${privilege} on events for ${grantee}`] = {
      statements: [`grant ${privilege} on eventsourcing.events to ${grantee}`],
      problems: [RegExp(`^events can be changed or removed by ${grantee}$`)]
    }
  }
}
for (const privilege of ["update (tag)", "delete"]) {
  grants[`${privilege} on the tags of events`] = {
    statements: [`grant ${privilege} on eventsourcing.event_tags to eventsourcing_tenant`],
    problems: [/^tags can be changed or removed by eventsourcing_tenant$/]
  }
}

grants["update (event_types) on the blocks of events"] = {
  statements: ["grant update (event_types) on eventsourcing.event_blocks to eventsourcing_tenant"],
  problems: [/^blocks can be changed or removed by eventsourcing_tenant$/]
}

/** Changes to the functions that find work for projections. */
const runner: Readonly<Record<string, Impairment>> = {
  "the runner able to read payloads": {
    statements: ["grant select (payload) on eventsourcing.events to eventsourcing_runner"],
    problems: [/^role eventsourcing_runner may read payload of eventsourcing.events$/]
  },
  "a role across tenants able to read without a record": {
    statements: ["grant select on eventsourcing.events to eventsourcing_all_tenants"],
    problems: [/^role eventsourcing_all_tenants may read tenant_id, .* of eventsourcing.events$/]
  },
  "the owner of the runner's functions able to read payloads": {
    statements: ["grant select on eventsourcing.events to eventsourcing_runner_owner"],
    problems: [/^role eventsourcing_runner_owner may read aggregate_type, .* of eventsourcing.events$/]
  },
  "the runner able to read all of events": {
    statements: ["grant select on eventsourcing.events to public"],
    problems: [
      /^role eventsourcing_runner may read tenant_id, position, aggregate_type, .* of eventsourcing.events$/
    ]
  },
  "the runner able to read dead letters": {
    statements: ["grant select on eventsourcing.dead_letters to eventsourcing_runner"],
    problems: [/^role eventsourcing_runner may read .* of eventsourcing.dead_letters$/]
  },
  "the runner able to see the status of tenants": {
    statements: ["grant select on eventsourcing.tenants to eventsourcing_runner"],
    problems: [/^role eventsourcing_runner may read .*status.* of eventsourcing.tenants$/]
  },
  "the runner able to truncate": {
    statements: ["grant truncate on eventsourcing.projections to eventsourcing_runner"],
    problems: [/^eventsourcing.projections may be truncated by eventsourcing_runner$/]
  },
  "the runner able to read a log": {
    statements: ["grant execute on function eventsourcing.log_head(uuid, bigint) to eventsourcing_runner"],
    problems: [/^function eventsourcing.log_head\(uuid,bigint\) may be called by eventsourcing_runner/]
  },
  "the runner on a table of the user's": {
    statements: ["create policy convenient on public.read_model to eventsourcing_runner using (true)"],
    problems: [/^policy convenient of public.read_model lets more rows through$/]
  },
  "a view for the runner": {
    statements: [
      "create view public.everything as select * from eventsourcing.events",
      "grant select on public.everything to eventsourcing_runner"
    ],
    problems: [/^view public.everything shows all rows of eventsourcing.events to everybody$/]
  },
  "tenants able to read the causes of failures": {
    statements: [
      "grant select (message, stack) on eventsourcing.projection_failures to eventsourcing_tenant"
    ],
    problems: [/^role eventsourcing_tenant may read message, stack of eventsourcing.projection_failures$/]
  },
  "tenants able to claim": {
    statements: [
      "grant execute on function eventsourcing.claim_projection(text[], integer[]) to eventsourcing_tenant"
    ],
    problems: [/^function eventsourcing.claim_projection.* may be called by eventsourcing_tenant$/]
  },
  "an announcement with other rights": {
    statements: ["alter function eventsourcing.announce(uuid[]) owner to eventsourcing_all_tenants_owner"],
    problems: [/^function eventsourcing.announce\(uuid\[\]\) is owned by eventsourcing_all_tenants_owner$/]
  },
  "a rebuild with the rights of a superuser": {
    statements: ["alter function eventsourcing.clear_rebuild(uuid, text[]) security definer"],
    problems: [/^function eventsourcing.clear_rebuild.* runs with the rights of its owner$/]
  },
  "a function of the owner's with the search path of its caller": {
    statements: ["alter function eventsourcing.register_read_model(regclass) reset search_path"],
    problems: [/^function eventsourcing.register_read_model\(regclass\) has no fixed search path$/]
  },
  "a table beside the twins": {
    statements: ["create table eventsourcing_rebuild.forgotten (tenant_id uuid not null)"],
    problems: [/^row-level security of eventsourcing_rebuild.forgotten is off$/]
  }
}

/** Tables, views and functions of the application that show a tenant the rows of others. */
const ofUsers: Readonly<Record<string, Impairment>> = {
  "a table with rows of tenants that is public": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null)",
      "grant select on public.forgotten to public"
    ],
    problems: [
      /^row-level security of public.forgotten is off$/,
      /^policy tenant_isolation of public.forgotten is missing/
    ]
  },
  "a table of which tenants may read a column": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null, note text)",
      "grant select (note) on public.forgotten to eventsourcing_tenant"
    ],
    problems: [
      /^row-level security of public.forgotten is off$/,
      /^policy tenant_isolation of public.forgotten is missing/
    ]
  },
  "a table of which tenants may only delete": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null)",
      "grant delete on public.forgotten to eventsourcing_tenant"
    ],
    problems: [/^row-level security of public.forgotten is off$/]
  },
  "a table that tenants own": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null)",
      "alter table public.forgotten owner to eventsourcing_tenant"
    ],
    problems: [
      /^role eventsourcing_tenant owns table public.forgotten$/,
      /^row-level security of public.forgotten is off$/
    ]
  },
  "a table whose tenant is a text": {
    statements: [
      "create table public.forgotten (tenant_id text not null)",
      "grant select on public.forgotten to eventsourcing_tenant"
    ],
    problems: [/^tenant_id of public.forgotten is text, but row-level security needs uuid$/]
  },
  "a key without the tenant": {
    statements: ["alter table public.read_model add constraint names unique (id)"],
    problems: [/^key public.names of public.read_model leaves out the tenant$/]
  },
  "an index without the tenant": {
    statements: ["create unique index names on public.read_model (lower(id::text))"],
    problems: [/^key public.names of public.read_model leaves out the tenant$/]
  },
  "a foreign key without the tenant": {
    statements: [
      "create table public.part (tenant_id uuid not null, id text, whole text, primary key (tenant_id, id))",
      "create table public.whole (tenant_id uuid not null, id text, primary key (tenant_id, id), constraint whole_id unique (id))",
      "alter table public.part add constraint of_whole foreign key (whole) references public.whole (id) on delete cascade",
      "grant select on public.part, public.whole to eventsourcing_tenant"
    ],
    problems: [
      /^foreign key of_whole of public.part refers to public.whole without the tenant$/,
      /^key public.whole_id of public.whole leaves out the tenant$/
    ]
  },
  "a view on a view": {
    statements: [
      "create view public.inner_view as select * from eventsourcing.events",
      "create view public.outer_view with (security_invoker) as select * from public.inner_view",
      "create role view_owner",
      "create view public.shown as select * from public.inner_view",
      "alter view public.shown owner to view_owner",
      "grant select on public.inner_view to view_owner",
      "grant select on public.shown to eventsourcing_tenant"
    ],
    problems: [/^view public.shown shows all rows of eventsourcing.events to everybody$/]
  },
  "a view on a materialized view": {
    statements: [
      "create materialized view public.stale as select * from eventsourcing.events",
      "create view public.shown as select * from public.stale",
      "grant select on public.shown to eventsourcing_tenant"
    ],
    problems: [/^view public.shown shows all rows of eventsourcing.events to everybody$/]
  },
  "a view of a role that looks across tenants": {
    statements: [
      "create role looker",
      "grant eventsourcing_all_tenants_owner to looker",
      "create view public.shown as select * from eventsourcing.events",
      "alter view public.shown owner to looker",
      "grant select on public.shown to eventsourcing_tenant"
    ],
    problems: [/^view public.shown shows all rows of eventsourcing.events to everybody$/]
  },
  "a function of a superuser that tenants may call": {
    statements: [
      "create function public.everything() returns bigint language sql security definer as 'select count(*) from eventsourcing.events'"
    ],
    problems: [
      /^function public.everything\(\) runs with the rights of .*, which sees the rows of all tenants, and eventsourcing_tenant may call it$/
    ]
  }
}

/** The impairments that the check must find, and its remedies repair. */
export const impairments: Readonly<Record<string, Impairment>> = {
  ...onTable("eventsourcing.events"),
  ...onTable("eventsourcing.event_tags"),
  ...onTable("eventsourcing.event_blocks"),
  ...onTable("eventsourcing.command_keys"),
  ...onTable("eventsourcing.tenants"),
  ...onTable("public.read_model"),
  ...onTable("eventsourcing.projections"),
  ...onTable("eventsourcing_rebuild.read_model"),
  "row-level security of snapshots off": {
    statements: ["alter table eventsourcing.snapshots disable row level security"],
    problems: [/^row-level security of eventsourcing.snapshots is off$/]
  },
  "snapshots for the runner": {
    statements: ["grant select (state) on eventsourcing.snapshots to eventsourcing_runner"],
    problems: [/^role eventsourcing_runner may read state of eventsourcing.snapshots$/]
  },
  "snapshots loaded with the rights of the caller": {
    statements: ["alter function eventsourcing.load_snapshot(uuid, text, text) security invoker"],
    problems: [/^function eventsourcing.load_snapshot\(uuid,text,text\) runs with the rights of its caller$/]
  },
  "the audit trail without row-level security": {
    statements: ["alter table eventsourcing.cross_tenant_accesses disable row level security"],
    problems: [/^row-level security of eventsourcing.cross_tenant_accesses is off$/]
  },
  "a partition that is open": {
    statements: [
      "create table public.parted (tenant_id uuid not null, id text, primary key (tenant_id, id)) partition by hash (tenant_id)",
      "create table public.leaf partition of public.parted for values with (modulus 1, remainder 0)",
      "select eventsourcing.protect_tenant_table('public.parted')",
      "grant select on public.leaf to eventsourcing_tenant"
    ],
    problems: [/^row-level security of public.leaf is off$/]
  },
  "a table that was never protected": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null)",
      "grant select on public.forgotten to eventsourcing_tenant"
    ],
    problems: [
      /^row-level security of public.forgotten is off$/,
      /^policy tenant_isolation of public.forgotten is missing/
    ]
  },
  ...ofUsers,
  ...roles,
  "tenants able to look across": {
    statements: ["grant eventsourcing_all_tenants to eventsourcing_tenant"],
    problems: [/^role eventsourcing_tenant is a member of eventsourcing_all_tenants$/]
  },
  ...grants,
  ...runner,
  "a function with the rights of its caller": {
    statements: ["alter function eventsourcing.log_head(uuid, bigint) security invoker"],
    problems: [/^function eventsourcing.log_head\(uuid,bigint\) runs with the rights of its caller$/]
  },
  "a function of a superuser": {
    statements: ["alter function eventsourcing.log_head(uuid, bigint) owner to current_user"],
    problems: [/^function eventsourcing.log_head\(uuid,bigint\) is owned by/]
  },
  "a function of a tenant that sees all of them": {
    statements: [
      "alter function eventsourcing.log_head(uuid, bigint) owner to eventsourcing_all_tenants_owner"
    ],
    problems: [/^function eventsourcing.log_head\(uuid,bigint\) is owned by eventsourcing_all_tenants_owner$/]
  },
  "a function with the search path of its caller": {
    statements: ["alter function eventsourcing.log_head(uuid, bigint) reset search_path"],
    problems: [/^function eventsourcing.log_head\(uuid,bigint\) has no fixed search path$/]
  },
  "tenants able to read all logs": {
    statements: [
      "grant execute on function eventsourcing.read_all_logs(uuid, uuid, bigint, integer, bigint) to eventsourcing_tenant"
    ],
    problems: [/^function eventsourcing.read_all_logs.* may be called by eventsourcing_tenant$/]
  }
}
