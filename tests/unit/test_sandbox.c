/* Both walls around a worker, kind by kind, in child processes that put them on and try what must fail and what must go on. */
#include "lib/base/sanitized.h"
#undef SANITIZED
#define SANITIZED 0 /* the walls of a release: nothing here wants a sanitizer's report after they stand */
#include "lib/kit/sandbox.c"
#include "supervisor/confine.c"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static char data[64] = "/tmp/walls-XXXXXX";
static struct settings settings;

/* ---- in the child: what it finds is its exit status, and a line */

static _Noreturn void complain(const char *what, const char *how)
{
    fprintf(stderr, "%s: %s: errno %d, %s\n", what, how, errno, strerror(errno));
    _exit(1);
}

static void may(const char *what, long result)
{
    if (result < 0)
        complain(what, "refused");
}

static void may_not(const char *what, long result, int why)
{
    if (result != -1 || errno != why)
        complain(what, "not refused");
}

static void may_if(bool allowed, const char *what, long result, int why)
{
    if (allowed)
        may(what, result);
    else
        may_not(what, result, why);
}

/* Good until the next but one. */
static const char *in_data(const char *name)
{
    static char paths[2][256];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", data, name);
    return path;
}

static long bind_in_run(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/run/test.sock", data);
    long result = bind(socket_, (const struct sockaddr *)&address, sizeof address);
    return result == 0 ? unlink(address.sun_path) : result;
}

static void try_files(unsigned reach)
{
    char spool[128];
    snprintf(spool, sizeof spool, "%s/run/body.XXXXXX", data);
    may("the system's files", open("/etc/passwd", O_RDONLY));
    may("random numbers", open("/dev/urandom", O_RDONLY));
    may("sockets in data/run", bind_in_run());
    may_if(reach & REACH_SPOOL, "spooling", mkstemp(spool), EACCES);
    may_if(reach & REACH_TLS_FILES, "the TLS key", open(in_data("tls/server.key"), O_RDONLY), EACCES);
    may_if(reach & REACH_TLS_FILES, "a certificate elsewhere", open(in_data("../walls-certificates/now/chain.pem"), O_RDONLY),
           EACCES);
    may_if(reach & REACH_SIGNING_KEY, "the signing key", open(in_data("signing.key"), O_RDONLY), EACCES);
    may_if(reach & REACH_SERVERS, "authorities", open(in_data("../walls-authorities/ca.pem"), O_RDONLY), EACCES);
    may_not("the configuration", open(in_data("config.yaml"), O_RDONLY), EACCES);
    may_not("PostgreSQL's files", open(in_data("postgres/PG_VERSION"), O_RDONLY), EACCES);
    may_not("a list of the data folder", open(in_data("."), O_RDONLY | O_DIRECTORY), EACCES);
    may_not("a file of its own", open(in_data("new"), O_WRONLY | O_CREAT, 0600), EACCES);
    may_not("changing the TLS key", open(in_data("tls/server.key"), O_WRONLY), EACCES);
    may_not("removing a key", unlink(in_data("signing.key")), EACCES);
    may_not("a link to a key", link(in_data("signing.key"), in_data("run/key")),
            reach & REACH_SPOOL ? EXDEV : EACCES); /* as Landlock puts it */
    may_not("a file in /tmp", open("/tmp/walls-new", O_WRONLY | O_CREAT, 0600), EACCES);
}

static void *nothing(void *context)
{
    return context;
}

/* In a thread that was there before the wall, and in the main one. */
static void try_calls(bool internet)
{
    char *const none[] = {NULL};
    pthread_t thread;
    may_not("a program", execve("/bin/true", none, none), EPERM);
    may_not("a process", fork(), EPERM);
    may_not("a process by clone", syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL), EPERM);
    may_not("tracing", ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM);
    may_not("other memory", syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), EPERM);
    may_not("signals to others", kill(getppid(), 0), EPERM);
    may("signals to itself", kill(getpid(), 0));
    may_not("another namespace", unshare(CLONE_NEWUSER), EPERM);
    may_not("another account", setregid((gid_t)-1, (gid_t)-1), EPERM);
    may_not("io_uring", syscall(SYS_io_uring_setup, 1, NULL), EPERM);
    may_not("bpf", syscall(SYS_bpf, 0, NULL, 0), EPERM);
    may_not("typing for others", ioctl(STDERR_FILENO, TIOCSTI, "x"), EPERM);
    may_not("written code", mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0,
            EPERM);
    may_not("raw sockets", socket(AF_PACKET, SOCK_RAW, 0), EPERM);
    may_not("kernel crypto", socket(AF_ALG, SOCK_SEQPACKET, 0), EPERM);
    may_not("a family with garbage above", syscall(SYS_socket, (1L << 32) | AF_ALG, SOCK_SEQPACKET, 0), EPERM);
    may_if(internet, "the internet", socket(AF_INET, SOCK_STREAM, 0), EPERM);
    may_if(internet, "the internet, IPv6", socket(AF_INET6, SOCK_DGRAM, 0), EPERM);
    may("Unix sockets", socket(AF_UNIX, SOCK_STREAM, 0));
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        complain("threads", "refused");
}

struct early {
    pthread_barrier_t walled;
    bool internet;
};

static void *early_thread(void *context)
{
    struct early *early = context;
    pthread_barrier_wait(&early->walled);
    try_calls(early->internet);
    return NULL;
}

static void behind_walls(enum service kind, int ruleset, bool internet)
{
    struct early early = {.internet = internet};
    pthread_t thread;
    if (!confine_self(ruleset))
        complain("Landlock", "cannot be put on");
    if (ruleset >= 0)
        try_files(service_facts(kind)->reach);
    pthread_barrier_init(&early.walled, NULL, 2);
    pthread_create(&thread, NULL, early_thread, &early);
    sandbox_enter(kind, &settings);
    pthread_barrier_wait(&early.walled);
    pthread_join(thread, NULL);
    try_calls(internet);
    _exit(0);
}

static void try_kind(enum service kind, int ruleset, bool internet)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        behind_walls(kind, ruleset, internet);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s is not walled in as it should be", service_facts(kind)->name);
}

/* ---- the folder */

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_data(name), "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_folder(void **state)
{
    static const char *const folders[] = {
        "run", "tls", "postgres", "../walls-certificates", "../walls-certificates/old", "../walls-authorities"};
    static const char *const files[] = {"config.yaml",
                                        "signing.key",
                                        "tls/server.crt",
                                        "tls/server.key",
                                        "postgres/PG_VERSION",
                                        "../walls-certificates/old/chain.pem",
                                        "../walls-authorities/ca.pem"};
    static char above[64], authorities[128];
    assert_non_null(mkdtemp(data)); /* the data folder is one level deeper, beside folders of its operator */
    snprintf(above, sizeof above, "%s", data);
    strcat(data, "/data");
    assert_int_equal(mkdir(data, 0700), 0);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        assert_int_equal(mkdir(in_data(folders[i]), 0700), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        write_file(files[i], "as it was");
    assert_int_equal(symlink("old", in_data("../walls-certificates/now")), 0);
    snprintf(authorities, sizeof authorities, "%s/walls-authorities/ca.pem", above);
    struct arena *arena = arena_create(16 * 1024);
    const char *error;
    assert_true(settings_load(arena, NULL, NULL, 0, &settings, &error));
    settings.data_folder = data;
    settings.federation_ca_file = authorities;
    settings.database_url = arena_printf(arena, "host=%s/run user=myelin", data).at;
    *state = arena;
    return 0;
}

static int remove_folder(void **state)
{
    char command[128];
    struct arena *arena = *state;
    snprintf(command, sizeof command, "rm -r %.*s", (int)(strlen(data) - strlen("/data")), data);
    arena_destroy(&arena);
    return system(command);
}

/* ---- tests */

static int walls_of(struct arena *arena, enum service kind)
{
    int ruleset = confine_kind(arena, kind, "/bin/true", &settings);
    if (confine_version() == 0)
        print_message("this kernel has no Landlock: files are NOT TESTED\n");
    else
        assert_true(ruleset >= 0);
    return ruleset;
}

static void test_each_kind(void **state)
{
    static char chain[128];
    snprintf(chain, sizeof chain, "%.*s/walls-certificates/now/chain.pem", (int)(strlen(data) - strlen("/data")), data);
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        /* The key is in the data folder, the certificate elsewhere, behind a link. */
        settings.tls_certificate = chain;
        int ruleset = walls_of(*state, kind);
        /* What comes later under the same name is read, too. */
        write_file("tls/next", "as it is now");
        assert_int_equal(rename(in_data("tls/next"), in_data("tls/server.key")), 0);
        write_file("../walls-certificates/old/next", "as it is now");
        assert_int_equal(rename(in_data("../walls-certificates/old/next"), in_data("../walls-certificates/old/chain.pem")), 0);
        try_kind(kind, ruleset, service_facts(kind)->reach & REACH_SERVERS);
        if (ruleset >= 0)
            close(ruleset);
    }
}

/* Who reaches what: a change of the table must be meant. */
static void test_least_privilege(void **state)
{
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        unsigned reach = service_facts(kind)->reach;
        assert_int_equal(!!(reach & REACH_SIGNING_KEY), kind == SERVICE_signing);
        assert_int_equal(!!(reach & REACH_TLS_FILES), kind == SERVICE_frontend);
        assert_int_equal(!!(reach & REACH_SERVERS), kind == SERVICE_sender || kind == SERVICE_discovery);
    }
}

static void test_machines_and_databases_elsewhere(void **state)
{
    static const struct {
        const char *url;
        bool here;
    } databases[] = {{"host=/run/postgresql", true},       {"dbname=x", true},
                     {"host=db.example", false},           {"postgresql:///x?host=/tmp", true},
                     {"postgresql://db.example/x", false}, {"host=/a,db.example", false},
                     {"hostaddr=192.0.2.1", false},        {"service=matrix", false},
                     {"host=/run/a hostaddr=::1", false},  {"nonsense nonsense", false}};
    const char *url = settings.database_url;
    unsetenv("PGHOST");
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++)
        assert_int_equal(database_is_here(databases[i].url), databases[i].here);
    settings.database_url = "host=db.example";
    try_kind(SERVICE_rooms, -1, true);
    try_kind(SERVICE_frontend, -1, false); /* it has no database */
    settings.database_url = url;
    settings.bus_listen = "192.0.2.1";
    try_kind(SERVICE_rooms, -1, true);
    try_kind(SERVICE_frontend, -1, true);
    settings.bus_listen = "";
}

static void test_lies_above(void **state)
{
    assert_true(lies_above("/", "/srv/data"));
    assert_true(lies_above("/srv", "/srv/data"));
    assert_true(lies_above("/srv/data", "/srv/data"));
    assert_false(lies_above("/srv/dat", "/srv/data"));
    assert_false(lies_above("/srv/data/tls", "/srv/data"));
}

/* A data folder inside of one that everybody may read. */
static void test_inside_a_system_folder(void **state)
{
    struct walls walls = {.arena = *state, .data = data, .handled = READ};
    struct ruleset_attributes attributes = {.files = READ};
    if (confine_version() == 0)
        return;
    walls.ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    assert_true(walls.ruleset >= 0);
    allow_around(&walls, "/tmp");
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!confine_self(walls.ruleset))
            complain("Landlock", "cannot be put on");
        may("a neighbour", open(in_data("../walls-authorities/ca.pem"), O_RDONLY));
        may_not("the data folder", open(in_data("signing.key"), O_RDONLY), EACCES);
        may_not("what was not named", open("/etc/passwd", O_RDONLY), EACCES);
        _exit(0);
    }
    close(walls.ruleset);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_switched_off(void **state)
{
    settings.sandbox = false;
    assert_int_equal(confine_kind(*state, SERVICE_rooms, "/bin/true", &settings), -1);
    int status;
    pid_t child = fork();
    if (child == 0) {
        sandbox_enter(SERVICE_rooms, &settings);
        may("the internet", socket(AF_INET, SOCK_STREAM, 0));
        may("an account", setregid((gid_t)-1, (gid_t)-1));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    settings.sandbox = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_least_privilege),
        cmocka_unit_test(test_machines_and_databases_elsewhere),
        cmocka_unit_test(test_lies_above),
        cmocka_unit_test(test_inside_a_system_folder),
        cmocka_unit_test(test_switched_off),
    };
    log_init("test_sandbox", LOG_WARN);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
