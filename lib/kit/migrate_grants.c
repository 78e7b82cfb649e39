/* Roles and grants: a role per kind of services.def that uses the database, NOLOGIN, that workers switch to (SET ROLE) and that can
 * write what schema/OWNERS gives to its kind and nothing else. All of it is made new each time, in one transaction. */
#include "lib/base/strbuf.h"
#include "lib/kit/migrate_parts.h"
#include "proto/service.h"

static enum migrate_result make_role(struct migrate *migrate, const char *role)
{
    enum migrate_result result;
    const char *exists, *sql;
    sql = arena_printf(migrate->arena,
                       "SELECT coalesce(pg_has_role(current_user, max(oid), 'MEMBER')::text, '') FROM pg_roles "
                       "WHERE rolname = '%s'",
                       role)
              .at;
    if ((result = migrate_ask(migrate, sql, &exists)))
        return result;
    if (*exists == '\0') {
        sql = arena_printf(migrate->arena, "CREATE ROLE %s NOLOGIN NOINHERIT", role).at;
        if ((result =
                 migrate_exec(migrate, sql, "a role per kind of worker (this login needs CREATEROLE, or create them by hand)")))
            return result;
    }
    if (strcmp(exists, "true") == 0)
        return MIGRATE_DONE; /* superusers are members of every role */
    sql = arena_printf(migrate->arena, "GRANT %s TO CURRENT_USER", role).at;
    return migrate_exec(migrate, sql, "this login must be a member of each worker's role");
}

/* "myelin_a, myelin_b, …" */
static struct slice all_roles(struct arena *arena)
{
    struct strbuf roles = strbuf_in(arena);
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        if (*service_facts(kind)->db_role)
            strbuf_printf(&roles, "%s%s", roles.len ? ", " : "", service_facts(kind)->db_role);
    return strbuf_slice(&roles);
}

/* A table also gives the sequences of its columns. */
static void grant_owner(struct strbuf *sql, const char *table, bool is_sequence, const char *role)
{
    if (is_sequence) {
        strbuf_printf(sql, "GRANT USAGE, SELECT ON SEQUENCE %s TO %s;\n", table, role);
        return;
    }
    strbuf_printf(sql, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s TO %s;\n", table, role);
    strbuf_printf(sql,
                  "DO $$ DECLARE s regclass; BEGIN FOR s IN SELECT objid::regclass FROM pg_depend JOIN pg_class c ON c.oid = objid "
                  "AND c.relkind = 'S' WHERE refobjid = '%s'::regclass AND deptype IN ('a', 'i') LOOP "
                  "EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %%s TO %s', s); END LOOP; END $$;\n",
                  table, role);
}

static enum migrate_result grant_line(struct migrate *migrate, struct strbuf *sql, struct slice line, int number)
{
    struct slice table, kind;
    enum service service;
    line = slice_trim(line);
    if (line.len == 0 || *line.at == '#')
        return MIGRATE_DONE;
    if (!slice_cut(line, ' ', &table, &kind))
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s/OWNERS:%d: wants: table kind", migrate->folder, number);
    struct slice life; /* the third column is for people and tests/check/queries */
    kind = slice_trim(kind);
    slice_cut(kind, ' ', &kind, &life);
    const char *table_name = arena_cstr(migrate->arena, table), *kind_name = arena_cstr(migrate->arena, kind), *found;
    if (table.len != strspn(table_name, "abcdefghijklmnopqrstuvwxyz0123456789_"))
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s/OWNERS:%d: bad name %s", migrate->folder, number, table_name);
    const char *ask = arena_printf(migrate->arena, "SELECT relkind FROM pg_class WHERE oid = to_regclass('%s')", table_name).at;
    enum migrate_result result = migrate_ask(migrate, ask, &found);
    if (result)
        return result;
    if (*found == '\0')
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s/OWNERS:%d: there is no table %s", migrate->folder, number, table_name);
    if (strcmp(kind_name, "supervisor") == 0)
        return MIGRATE_DONE; /* the login itself, which owns the tables */
    if (!service_from_name(kind_name, &service) || !*service_facts(service)->db_role)
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s/OWNERS:%d: %s has no database role", migrate->folder, number,
                            kind_name);
    grant_owner(sql, table_name, *found == 'S', service_facts(service)->db_role);
    return MIGRATE_DONE;
}

static enum migrate_result grants_of_owners(struct migrate *migrate, struct strbuf *sql)
{
    struct slice rest, line;
    enum migrate_result result = migrate_read_file(migrate, "OWNERS", &rest);
    for (int number = 1; !result && rest.len; number++) {
        if (!slice_cut(rest, '\n', &line, &rest)) {
            line = rest;
            rest = SLICE("");
        }
        result = grant_line(migrate, sql, line, number);
    }
    return result;
}

enum migrate_result migrate_grant(struct migrate *migrate)
{
    enum migrate_result result;
    const char *schema;
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        if (*service_facts(kind)->db_role && (result = make_role(migrate, service_facts(kind)->db_role)))
            return result;
    if ((result = migrate_ask(migrate, "SELECT quote_ident(current_schema())", &schema)))
        return result;
    struct slice roles = all_roles(migrate->arena);
    struct strbuf sql = strbuf_in(migrate->arena);
    strbuf_printf(&sql, "BEGIN;\nGRANT USAGE ON SCHEMA %s TO %.*s;\n", schema, PRI(roles));
    strbuf_printf(&sql, "REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM %.*s;\n", schema, PRI(roles));
    strbuf_printf(&sql, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA %s FROM %.*s;\n", schema, PRI(roles));
    strbuf_printf(&sql, "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %.*s;\n", schema, PRI(roles));
    if ((result = grants_of_owners(migrate, &sql)))
        return result;
    strbuf_add(&sql, SLICE("COMMIT;"));
    return migrate_exec(migrate, arena_cstr(migrate->arena, strbuf_slice(&sql)), "grants");
}
