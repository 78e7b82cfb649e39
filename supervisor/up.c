/* `myelin up` and `myelin init`: everything from an empty folder to running workers, in order. Until the loop runs (run.c) each
 * step may wait, and ends the program with a reason when it cannot be done. */
#include "supervisor/supervisor.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/migrate.h"
#include "lib/matrix/ids.h"
#include "supervisor/certificate.h"
#include "supervisor/confine.h"
#include "supervisor/database.h"
#include "supervisor/listeners.h"
#include "supervisor/place.h"
#include "supervisor/say.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATABASE_WAIT_MS = 30000 };

/* While starting: nothing is in need of an orderly end, and PostgreSQL gets its signal when we are gone. A handler, because the
 * first process of a container has no default for these. */
static void end_at_once(int number)
{
    _exit(128 + number);
}

static void start_signals(void)
{
    struct sigaction end = {.sa_handler = end_at_once}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* ---- files of the first start */

static bool file_has_server_name(struct supervisor *supervisor)
{
    struct options without = *supervisor->options;
    struct settings settings;
    without.override_count = 0;
    options_settings(supervisor->arena, &without, supervisor->folder.real, &settings);
    return settings.server_name[0] != '\0';
}

static void make_certificate(struct supervisor *supervisor)
{
    struct arena *arena = supervisor->arena;
    const char *folder = arena_printf(arena, "%s/tls", supervisor->folder.real).at, *error;
    const char *certificate = arena_printf(arena, "%s/server.crt", folder).at,
               *key = arena_printf(arena, "%s/server.key", folder).at;
    if (access(certificate, F_OK) == 0 && access(key, F_OK) == 0)
        return;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        die("cannot make %s: %s", folder, strerror(errno));
    if (!certificate_make(arena, slice_from_cstr(supervisor->settings.server_name), certificate, key, &error))
        die("cannot make a certificate: %s", error);
}

static void write_first_files(struct supervisor *supervisor)
{
    const struct options *options = supervisor->options;
    const struct settings *settings = &supervisor->settings;
    const char *config =
        options->config ? options->config : arena_printf(supervisor->arena, "%s/config.yaml", supervisor->folder.real).at;
    if (access(config, F_OK) != 0 || (settings->server_name[0] && !options->config && !file_has_server_name(supervisor)))
        folder_write_config(supervisor->arena, &supervisor->folder, settings, options->config);
    if (!settings->server_name[0])
        return;
    if (!settings->tls_certificate[0])
        make_certificate(supervisor);
}

static void check_readable(const struct supervisor *supervisor, const char *key, const char *path)
{
    if (path[0] && access(path, R_OK) != 0)
        die("%s: the account %s cannot read %s: %s", key, supervisor->account.name, path, strerror(errno));
}

static void check_settings(const struct supervisor *supervisor)
{
    const struct settings *settings = &supervisor->settings;
    if (!settings->server_name[0])
        die("server_name is not set; give --server-name at the first start (it cannot change later)");
    if (!server_name_is_valid(slice_from_cstr(settings->server_name)))
        die("server_name \"%s\" is not a valid server name", settings->server_name);
    check_readable(supervisor, "signing_key_file", settings->signing_key_file);
    check_readable(supervisor, "tls_certificate", settings->tls_certificate);
    check_readable(supervisor, "tls_key", settings->tls_key);
    check_readable(supervisor, "federation_ca_file", settings->federation_ca_file);
    const char *wrong = listeners_malformed(supervisor->arena, settings);
    if (!wrong)
        wrong = bus_listen_wrong(supervisor->arena, settings);
    if (wrong)
        die("%s", wrong);
    if (settings->bus_listen[0] && !settings->cluster_secret[0])
        die("bus_listen needs cluster_secret");
    if (settings->appservice_files[0])
        warn_person("appservice_files has no effect yet: application services are not served by this version");
    if (settings->sandbox && !confine_version())
        log_event(LOG_WARN, "this kernel has no Landlock: each worker can read every file of its account");
    if (!settings->federation_verify)
        warn_person("federation_verify is off: anybody can pose as another server. For laboratories only!");
}

static void check_ports(const struct supervisor *supervisor)
{
    if (!supervisor->settings.replicas_of[SERVICE_frontend])
        return;
    const char *taken = listeners_taken(supervisor->arena, &supervisor->settings);
    if (taken)
        die("%s", taken);
}

/* ---- the database */

static PGconn *open_private(struct supervisor *supervisor)
{
    const char *error;
    postgres_prepare(supervisor->arena, &supervisor->postgres, &supervisor->folder, &supervisor->settings);
    postgres_start_and_wait(&supervisor->postgres);
    supervisor->url = postgres_url(&supervisor->postgres, "myelin");
    PGconn *connection = database_connect(supervisor->url, 0, &error);
    if (!connection && strstr(error, "does not exist")) {
        database_create(postgres_url(&supervisor->postgres, "postgres"), "myelin");
        connection = database_connect(supervisor->url, 0, &error);
    }
    if (!connection)
        die("PostgreSQL: %s", error);
    return connection;
}

static PGconn *open_given(struct supervisor *supervisor)
{
    const char *error;
    supervisor->url = supervisor->settings.database_url;
    PGconn *connection = database_connect(supervisor->url, DATABASE_WAIT_MS, &error);
    if (!connection)
        die("database_url: %s", error);
    return connection;
}

/* The key is made when the installation is. A machine that joins one must be given its key: two machines with a key each would sign
 * as two servers. The private database belongs to the folder, so there the key may be made anew (the old one is a loss, not a
 * quarrel). */
static _Noreturn void refuse_second_key(const struct supervisor *supervisor)
{
    die("this database belongs to an installation that has a signing key already: copy it to %s/signing.key, or name it with "
        "signing_key_file",
        supervisor->folder.real);
}

/* True: made now. The name is claimed after it, so that what is interrupted between the two starts again with the key that it made.
 */
static bool make_signing_key(struct supervisor *supervisor, PGconn *connection)
{
    const struct settings *settings = &supervisor->settings;
    bool first;
    if (!settings->server_name[0] || settings->signing_key_file[0] || !settings->replicas_of[SERVICE_signing] ||
        folder_has_signing_key(supervisor->arena, &supervisor->folder))
        return false;
    if (!supervisor->private_postgres && database_claim(supervisor->arena, connection, "", &first).len)
        refuse_second_key(supervisor);
    folder_write_signing_key(supervisor->arena, &supervisor->folder);
    return true;
}

static struct slice claim_name(struct supervisor *supervisor, PGconn *connection)
{
    bool first, made = make_signing_key(supervisor, connection);
    struct slice name = database_claim(supervisor->arena, connection, supervisor->settings.server_name, &first);
    if (made && !first && !supervisor->private_postgres) { /* another machine was faster by a moment */
        folder_remove_signing_key(supervisor->arena, &supervisor->folder);
        refuse_second_key(supervisor);
    }
    return name;
}

static void open_database(struct supervisor *supervisor)
{
    const char *schema = place_schema(supervisor->arena, supervisor->options->schema);
    struct migrate_report report;
    if (!schema)
        die("the folder with the schema is missing; --schema names it");
    supervisor->private_postgres = !supervisor->settings.database_url[0];
    PGconn *connection = supervisor->private_postgres ? open_private(supervisor) : open_given(supervisor);
    struct arena *scratch = arena_create(64 * 1024 * 1024); /* the whole schema passes through: not to be kept */
    if (migrate_run(supervisor->url, schema, scratch, &report) != MIGRATE_DONE)
        die("database: %s", report.error);
    arena_destroy(&scratch);
    if (supervisor->private_postgres)
        supervisor->settings.database_logins = true;
    if (supervisor->settings.database_logins)
        database_open_logins(connection);
    struct slice name = claim_name(supervisor, connection);
    PQfinish(connection);
    if (supervisor->settings.server_name[0] && !slice_eq(name, slice_from_cstr(supervisor->settings.server_name)))
        die("this database belongs to the server %.*s; its name cannot be changed to %s", PRI(name),
            supervisor->settings.server_name);
    supervisor->settings.database_url = supervisor->url; /* children need not know which kind it is */
}

void supervisor_prepare(struct supervisor *supervisor, struct arena *arena, const struct options *options, bool run)
{
    *supervisor = (struct supervisor){.arena = arena, .options = options, .stop_rank = -1, .started_ms = clock_monotonic_ms()};
    start_signals();
    account_choose(&supervisor->account);
    folder_prepare(arena, options->data, &supervisor->account, &supervisor->folder);
    account_become(&supervisor->account);
    folder_claim(arena, &supervisor->folder, &supervisor->account);
    options_settings(arena, options, supervisor->folder.real, &supervisor->settings);
    enum log_level level;
    if (log_level_from_name(slice_from_cstr(supervisor->settings.log_level), &level))
        log_set_level(level);
    if (supervisor->settings.server_name[0] && !server_name_is_valid(slice_from_cstr(supervisor->settings.server_name)))
        die("server_name \"%s\" is not a valid server name", supervisor->settings.server_name);
    write_first_files(supervisor);
    if (run) {
        check_settings(supervisor);
        fleet_init(&supervisor->fleet, arena, &supervisor->settings, supervisor->folder.path, options->only);
        if (!supervisor->fleet.post_count)
            die("there is nothing to run: no program of a worker (myelin-<kind>) lies beside this one, or every kind has 0 "
                "replicas");
        check_ports(supervisor);
    }
    open_database(supervisor);
    if (run)
        fleet_settings_changed(&supervisor->fleet); /* the database's address is known only now */
}

int supervisor_close(struct supervisor *supervisor)
{
    int status;
    if (supervisor->private_postgres) {
        postgres_stop(&supervisor->postgres, false);
        while (waitpid(supervisor->postgres.pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    folder_leave(&supervisor->folder);
    say("The data folder %s is ready.", supervisor->folder.real);
    return 0;
}
