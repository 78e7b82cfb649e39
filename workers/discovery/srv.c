/* RFC 2782, "Usage rules": the lowest priority first; within it one is drawn again and again from those left, each with a chance in
 * proportion to its weight, and those of weight 0 have a very small one. */
#include "workers/discovery/srv.h"

static void swap(struct dns_srv *a, struct dns_srv *b)
{
    struct dns_srv kept = *a;
    *a = *b;
    *b = kept;
}

static void sort_by_priority(struct dns_srv *services, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t k = i; k > 0 && services[k - 1].priority > services[k].priority; k--)
            swap(&services[k - 1], &services[k]);
    }
}

/* Weight 0 counts as a 256th of weight 1: drawn before others almost never. */
static uint32_t share(const struct dns_srv *service)
{
    return service->weight ? (uint32_t)service->weight << 8 : 1;
}

static void draw_next(struct dns_srv *services, size_t count, uint32_t (*random)(uint32_t bound))
{
    uint32_t sum = 0, drawn;
    for (size_t i = 0; i < count; i++)
        sum += share(&services[i]); /* 32 × 2^24 at most */
    drawn = random(sum);
    for (size_t i = 0; i < count; i++) {
        if (drawn < share(&services[i])) {
            swap(&services[0], &services[i]);
            return;
        }
        drawn -= share(&services[i]);
    }
}

void srv_order(struct dns_srv *services, size_t count, uint32_t (*random)(uint32_t bound))
{
    sort_by_priority(services, count);
    for (size_t i = 0; i < count; i++) {
        size_t end = i;
        while (end < count && services[end].priority == services[i].priority)
            end++;
        draw_next(services + i, end - i, random);
    }
}

bool srv_says_not_here(const struct dns_srv *services, size_t count)
{
    return count == 1 && services[0].target.len == 0;
}
