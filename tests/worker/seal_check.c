/* After the signing worker's seal: what must fail fails with EPERM, what must work works, in threads too. */
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "workers/signing/keys.h"
#include "workers/signing/signing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t sealed;

static void refused(const char *what, long result)
{
    if (result != -1 || errno != EPERM) {
        fprintf(stderr, "%s is not refused: %ld, errno %d\n", what, result, errno);
        exit(1);
    }
}

static void *check(void *context)
{
    pthread_barrier_wait(&sealed);
    char *const none[] = {NULL};
    refused("open to read", open("/etc/passwd", O_RDONLY));
    refused("open to write", open("/tmp/seal_check", O_WRONLY | O_CREAT, 0600));
    refused("unlink", unlink("/tmp/seal_check"));
    refused("inet socket", socket(AF_INET, SOCK_STREAM, 0));
    refused("unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
    refused("execve", execve("/bin/true", none, none));
    refused("fork", fork());
    refused("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    refused("executable memory",
            mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    refused("killing others", kill(getppid(), 0));
    return NULL;
}

int main(void)
{
    char path[] = "/tmp/seal_check_XXXXXX";
    int file = mkstemp(path);
    ensure(file >= 0 && dprintf(file, "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n") > 0);
    struct arena *arena = arena_create(1 << 20);
    const char *error;
    struct signing_keys *keys = signing_keys_load(arena, path, &error);
    ensure(keys && unlink(path) == 0);
    log_init("seal_check", LOG_ERROR);
    pthread_t before, after;
    pthread_barrier_init(&sealed, NULL, 2);
    ensure(pthread_create(&before, NULL, check, NULL) == 0);
    signing_seal(NULL);
    check(NULL);
    ensure(pthread_join(before, NULL) == 0);
    pthread_barrier_init(&sealed, NULL, 1);
    ensure(pthread_create(&after, NULL, check, NULL) == 0 && pthread_join(after, NULL) == 0);
    struct rlimit core;
    ensure(signing_keys_sign(keys, arena, SLICE("{}")).len == 86);
    ensure(getrlimit(RLIMIT_CORE, &core) == -1 && errno == EPERM);
    signing_keys_destroy(&keys);
    arena_destroy(&arena);
    return 0;
}
