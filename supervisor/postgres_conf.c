/* The private cluster's configuration: safe writes, little memory, quick recovery. Our workers do one small thing at a time over
 * few connections, so planning in parallel, compilation and replication are off; the operating system's page cache does the
 * caching. `local.conf` beside it, when an operator writes one, wins. */
#include "lib/base/strbuf.h"
#include "supervisor/postgres.h"

static const char fixed[] =
    "# Made at each start; write your own into local.conf.\n"
    "listen_addresses = ''\n"
    "port = 5432\n"
    "unix_socket_permissions = 0700\n"
    "superuser_reserved_connections = 3\n"
    "\n# What is acknowledged is on disk.\n"
    "fsync = on\n"
    "synchronous_commit = on\n"
    "full_page_writes = on\n"
    "wal_level = minimal\n"
    "max_wal_senders = 0\n"
    "wal_compression = lz4\n"
    "default_toast_compression = lz4\n"
    "min_wal_size = 32MB\n"
    "max_wal_size = 256MB\n" /* bounds what is replayed after a crash: seconds */
    "checkpoint_timeout = 5min\n"
    "recovery_init_sync_method = syncfs\n" /* one call instead of one per file: 0.1 s instead of 3 s after a crash */
    "\n# Memory.\n"
    "huge_pages = off\n"
    "work_mem = 4MB\n"
    "maintenance_work_mem = 32MB\n"
    "autovacuum_work_mem = 16MB\n"
    "jit = off\n"
    "max_parallel_workers_per_gather = 0\n"
    "max_worker_processes = 2\n"
    "max_logical_replication_workers = 0\n"
    "max_prepared_transactions = 0\n"
    "\n# Vacuum: small and often, so that stream horizons and indexes stay short.\n"
    "autovacuum_max_workers = 1\n"
    "autovacuum_naptime = 30s\n"
    "autovacuum_vacuum_scale_factor = 0.05\n"
    "autovacuum_analyze_scale_factor = 0.05\n"
    "autovacuum_vacuum_insert_scale_factor = 0.1\n"
    "\nrandom_page_cost = 1.1\n"
    "idle_in_transaction_session_timeout = 10s\n" /* nobody holds the horizon back (DESIGN §8) */
    "timezone = 'UTC'\n"
    "log_timezone = 'UTC'\n"
    "logging_collector = off\n"
    "log_destination = 'stderr'\n"
    "log_min_messages = warning\n"
    "log_line_prefix = '%m [%p] %q%u '\n";

int postgres_connections(const struct settings *settings)
{
    int64_t sum = 10; /* reserve, supervisor, tool, psql */
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        if (service_facts((enum service)kind)->db_role[0]) /* + 2: slots, and one at hand-over */
            sum += (int64_t)settings->replicas_of[kind] * (settings_connections(settings, (enum service)kind) + 2);
    return sum > 5000 ? 5000 : (int)sum;
}

struct slice postgres_conf(struct arena *arena, const struct folder *folder, const struct settings *settings)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_add_cstr(&out, fixed);
    strbuf_printf(&out, "unix_socket_directories = '%s/run'\n", folder->path); /* quotes were ruled out by the alias */
    strbuf_printf(&out, "max_connections = %d\n", postgres_connections(settings));
    int64_t buffers_kb = settings->database_shared_buffers / 1024;
    strbuf_printf(&out, "shared_buffers = %lldkB\n", (long long)(buffers_kb < 1024 ? 1024 : buffers_kb));
    strbuf_printf(&out, "effective_cache_size = %lldkB\n", (long long)(buffers_kb * 4 > 262144 ? buffers_kb * 4 : 262144));
    strbuf_add_cstr(&out, "include_if_exists 'local.conf'\n");
    return strbuf_slice(&out);
}
