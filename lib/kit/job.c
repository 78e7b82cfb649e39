/* The header says it. A cancelled job is freed by whoever can: here when it was parked, else by the thread that takes it. */
#include "lib/kit/job.h"

#include <stdlib.h>

#include "lib/base/ensure.h"

enum { BUCKETS = 1024 };

struct jobs {
    pthread_mutex_t lock;
    struct job *buckets[BUCKETS];
    size_t count, bytes;
};

struct jobs *jobs_create(void)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    ensure(jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    return jobs;
}

void jobs_destroy(struct jobs **jobs)
{
    if (!*jobs)
        return;
    ensure((*jobs)->count == 0);
    pthread_mutex_destroy(&(*jobs)->lock);
    free(*jobs);
    *jobs = NULL;
}

struct job *job_create(struct arena *arena)
{
    struct job *job = arena_new(arena, struct job);
    job->arena = arena;
    return job;
}

static void job_free(struct job *job)
{
    park_forget(&job->park);
    struct arena *arena = job->arena;
    arena_destroy(&arena);
}

static struct job **bucket_of(struct jobs *jobs, uint64_t correlation)
{
    return &jobs->buckets[correlation * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}
_Static_assert(BUCKETS == 1 << (64 - 54), "the shift above gives the bucket");

void jobs_add(struct jobs *jobs, struct job *job)
{
    pthread_mutex_lock(&jobs->lock);
    struct job **bucket = bucket_of(jobs, job->message.header.correlation);
    job->next = *bucket;
    job->link = bucket;
    if (job->next)
        job->next->link = &job->next;
    *bucket = job;
    jobs->count++;
    jobs->bytes += job->bytes;
    pthread_mutex_unlock(&jobs->lock);
}

static void take_out(struct jobs *jobs, struct job *job)
{
    *job->link = job->next;
    if (job->next)
        job->next->link = job->link;
    jobs->count--;
    jobs->bytes -= job->bytes;
}

void jobs_end(struct jobs *jobs, struct job **job)
{
    pthread_mutex_lock(&jobs->lock);
    take_out(jobs, *job);
    pthread_mutex_unlock(&jobs->lock);
    job_free(*job);
    *job = NULL;
}

void jobs_cancel(struct jobs *jobs, struct park *park, int router, struct slice identity, uint64_t correlation)
{
    pthread_mutex_lock(&jobs->lock);
    struct job *job = *bucket_of(jobs, correlation);
    while (job && (job->own || job->message.header.correlation != correlation || job->router != router ||
                   !slice_eq(job->message.identity, identity)))
        job = job->next;
    bool is_ours = false;
    if (job) {
        atomic_store(&job->is_cancelled, true);
        is_ours = park_remove(park, &job->park);
        if (is_ours)
            take_out(jobs, job);
    }
    pthread_mutex_unlock(&jobs->lock);
    if (is_ours)
        job_free(job);
}

size_t jobs_count(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    size_t count = jobs->count;
    pthread_mutex_unlock(&jobs->lock);
    return count;
}

size_t jobs_bytes(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    size_t bytes = jobs->bytes;
    pthread_mutex_unlock(&jobs->lock);
    return bytes;
}
