/* One /metrics for all processes: the children's texts with labels kind and instance added to each sample, grouped by family as the
 * exposition format wants it, after what the supervisor itself knows. */
#include "supervisor/supervisor.h"

#include "lib/base/clock.h"
#include "lib/base/strbuf.h"

struct family {
    struct slice name, help, type; /* whole comment lines */
    struct strbuf samples;
    struct family *next;
};

struct merge {
    struct arena *arena;
    struct family *first, **tail;
};

static struct family *family_of(struct merge *merge, struct slice name)
{
    for (struct family *family = merge->first; family; family = family->next)
        if (slice_eq(family->name, name))
            return family;
    struct family *made = arena_new(merge->arena, struct family);
    made->name = name;
    made->samples = strbuf_in(merge->arena);
    *merge->tail = made;
    merge->tail = &made->next;
    return made;
}

/* name{a="b"} 1  →  name{kind="…",instance="…",a="b"} 1 */
static void add_sample(struct strbuf *out, struct slice line, const char *kind, int number)
{
    size_t name = 0;
    while (name < line.len && line.at[name] != '{' && line.at[name] != ' ')
        name++;
    struct slice rest = slice_sub(line, name, line.len);
    strbuf_add(out, slice_sub(line, 0, name));
    strbuf_printf(out, "{kind=\"%s\",instance=\"%d\"", kind, number);
    if (slice_starts_with(rest, SLICE("{"))) {
        rest = slice_sub(rest, 1, rest.len);
        if (!slice_starts_with(rest, SLICE("}")))
            strbuf_add_char(out, ',');
        if (slice_starts_with(rest, SLICE("kind="))) /* of what the sample is about, not of who counts */
            strbuf_add(out, SLICE("about_"));
    } else {
        strbuf_add_char(out, '}');
    }
    strbuf_add(out, rest);
    strbuf_add_char(out, '\n');
}

static void add_text(struct merge *merge, const struct answer *answer)
{
    struct slice rest = answer->text, line;
    struct family *family = NULL;
    while (rest.len) {
        if (!slice_cut(rest, '\n', &line, &rest)) {
            line = rest;
            rest.len = 0;
        }
        bool help = slice_starts_with(line, SLICE("# HELP ")), type = slice_starts_with(line, SLICE("# TYPE "));
        struct slice name = slice_sub(line, 7, line.len), tail;
        if (help || type) {
            slice_cut(name, ' ', &name, &tail);
            family = family_of(merge, name);
            *(help ? &family->help : &family->type) = line;
        } else if (line.len && line.at[0] != '#') {
            if (!family)
                family = family_of(merge, SLICE(""));
            add_sample(&family->samples, line, service_facts(answer->kind)->name, answer->number);
        }
    }
}

static void gauge(struct strbuf *out, const char *name, const char *help)
{
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void add_own(struct strbuf *out, struct supervisor *supervisor)
{
    const struct fleet *fleet = &supervisor->fleet;
    int64_t now_ms = clock_monotonic_ms();
    gauge(out, "myelin_database_up", "PostgreSQL answers the supervisor");
    strbuf_printf(out, "myelin_database_up %d\n", registry_answers(&supervisor->registry, now_ms));
    if (supervisor->private_postgres) {
        strbuf_printf(out,
                      "# HELP myelin_database_restarts_total Restarts of the private PostgreSQL\n"
                      "# TYPE myelin_database_restarts_total counter\nmyelin_database_restarts_total %d\n",
                      supervisor->postgres.restarts);
    }
    database_facts_metrics(&supervisor->registry.facts, out);
    strbuf_add_cstr(out, "# HELP myelin_worker_restarts_total Unplanned restarts\n# TYPE myelin_worker_restarts_total counter\n");
    for (size_t i = 0; i < fleet->post_count; i++)
        strbuf_printf(out, "myelin_worker_restarts_total{kind=\"%s\",instance=\"%d\"} %d\n",
                      service_facts(fleet->posts[i].kind)->name, fleet->posts[i].number, fleet->posts[i].restarts);
    gauge(out, "myelin_worker_up", "Takes calls");
    for (size_t i = 0; i < fleet->post_count; i++) {
        int up = 0;
        for (const struct child *child = fleet->children; child; child = child->next)
            up |= child->post == &fleet->posts[i] && child->state == CHILD_READY;
        strbuf_printf(out, "myelin_worker_up{kind=\"%s\",instance=\"%d\"} %d\n", service_facts(fleet->posts[i].kind)->name,
                      fleet->posts[i].number, up);
    }
    gauge(out, "myelin_remote_workers", "Live workers on other machines");
    strbuf_printf(out, "myelin_remote_workers %zu\n", fleet->remote_count);
}

struct slice metrics_merge(struct supervisor *supervisor, struct collect *collect)
{
    struct merge merge = {.arena = collect->arena};
    struct strbuf out = strbuf_in(collect->arena);
    merge.tail = &merge.first;
    for (const struct answer *answer = collect->answers; answer; answer = answer->next)
        add_text(&merge, answer);
    add_own(&out, supervisor);
    for (const struct family *family = merge.first; family; family = family->next) {
        const struct slice comments[] = {family->help, family->type};
        for (size_t i = 0; i < 2; i++) {
            if (!comments[i].len)
                continue;
            strbuf_add(&out, comments[i]);
            strbuf_add_char(&out, '\n');
        }
        strbuf_add(&out, strbuf_slice(&family->samples));
    }
    return strbuf_slice(&out);
}
