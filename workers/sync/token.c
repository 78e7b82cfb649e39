/* Tokens as text: s<xmin>[x<xmax>[.<running>]…][_d<to_device_seq>][_e<serial>][_p<presence>][_g<epoch>][~<delivered nid>[.<nid>]…].
 * Other endpoints read the snapshot and the delivered ones (lib/store/timeline_token.c). */
#include "workers/sync/token.h"

#include "lib/base/strbuf.h"

static bool take_number(struct slice *rest, int64_t *out)
{
    size_t digits = 0;
    while (digits < rest->len && rest->at[digits] >= '0' && rest->at[digits] <= '9')
        digits++;
    if (!slice_to_i64(slice_sub(*rest, 0, digits), out))
        return false;
    *rest = slice_sub(*rest, digits, rest->len);
    return true;
}

static bool take_mark(struct slice *rest, struct slice mark)
{
    if (!slice_starts_with(*rest, mark))
        return false;
    *rest = slice_sub(*rest, mark.len, rest->len);
    return true;
}

/* number[.number]… */
static bool take_numbers(struct arena *arena, struct slice *rest, size_t most, struct i64s *out)
{
    int64_t *numbers = arena_new_array(arena, most, int64_t);
    size_t count = 0;
    do {
        if (count == most || !take_number(rest, &numbers[count++]))
            return false;
    } while (take_mark(rest, SLICE(".")));
    *out = (struct i64s){numbers, count};
    return true;
}

bool sync_token_parse(struct arena *arena, struct slice text, struct sync_token *out)
{
    struct sync_token token = {0};
    struct slice rest = text;
    if (!take_mark(&rest, SLICE("s")) || !take_number(&rest, &token.xmin) || token.xmin < 1)
        return false;
    token.xmax = token.xmin;
    if (take_mark(&rest, SLICE("x")) && (!take_number(&rest, &token.xmax) || token.xmax < token.xmin))
        return false;
    if (take_mark(&rest, SLICE(".")) && !take_numbers(arena, &rest, TOKEN_RUNNING_MAX, &token.running))
        return false;
    for (size_t i = 0; i < token.running.len; i++)
        if (token.running.at[i] < token.xmin || token.running.at[i] >= token.xmax ||
            (i && token.running.at[i] <= token.running.at[i - 1]))
            return false;
    if (take_mark(&rest, SLICE("_d")) && !take_number(&rest, &token.to_device_seq))
        return false;
    if (take_mark(&rest, SLICE("_e")) && !take_number(&rest, &token.serial))
        return false;
    if (take_mark(&rest, SLICE("_p")) && !take_number(&rest, &token.presence))
        return false;
    token.epoch = 1;
    if (take_mark(&rest, SLICE("_g")) && !take_number(&rest, &token.epoch))
        return false;
    if (take_mark(&rest, SLICE("~")) && !take_numbers(arena, &rest, TOKEN_DELIVERED_MAX, &token.delivered))
        return false;
    if (rest.len)
        return false;
    *out = token;
    return true;
}

static void add_numbers(struct strbuf *out, struct i64s numbers, char before, char between)
{
    for (size_t i = 0; i < numbers.len; i++) {
        strbuf_add_char(out, i ? between : before);
        strbuf_add_i64(out, numbers.at[i]);
    }
}

struct slice sync_token_format(struct arena *arena, const struct sync_token *token)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_add_char(&out, 's');
    strbuf_add_i64(&out, token->xmin);
    if (token->xmax != token->xmin) {
        strbuf_add_char(&out, 'x');
        strbuf_add_i64(&out, token->xmax);
        add_numbers(&out, token->running, '.', '.');
    }
    if (token->to_device_seq)
        strbuf_printf(&out, "_d%lld", (long long)token->to_device_seq);
    if (token->serial)
        strbuf_printf(&out, "_e%lld", (long long)token->serial);
    if (token->presence)
        strbuf_printf(&out, "_p%lld", (long long)token->presence);
    if (token->epoch > 1)
        strbuf_printf(&out, "_g%lld", (long long)token->epoch);
    add_numbers(&out, token->delivered, '~', '.');
    return strbuf_slice(&out);
}

struct sync_token sync_token_none(void)
{
    return (struct sync_token){.xmin = 1, .xmax = 1};
}

bool sync_token_take_snapshot(struct arena *arena, struct slice snapshot, struct sync_token *token)
{
    struct slice rest = snapshot;
    int64_t xmin, xmax;
    struct i64s running = {NULL, 0};
    if (!take_number(&rest, &xmin) || !take_mark(&rest, SLICE(":")) || !take_number(&rest, &xmax) || !take_mark(&rest, SLICE(":")))
        return false;
    int64_t *numbers = arena_new_array(arena, rest.len / 2 + 1, int64_t);
    while (rest.len) {
        if (!take_number(&rest, &numbers[running.len++]))
            return false;
        take_mark(&rest, SLICE(","));
    }
    running.at = numbers;
    /* More at work than a token carries: call the rest unseen too, from the first that does not fit. What is told twice is told. */
    if (running.len > TOKEN_RUNNING_MAX) {
        xmax = numbers[TOKEN_RUNNING_MAX];
        running.len = TOKEN_RUNNING_MAX;
    }
    token->xmin = xmin;
    token->xmax = running.len ? xmax : xmin > xmax ? xmin : xmax;
    token->running = running;
    if (!running.len)
        token->xmin = token->xmax;
    return true;
}

struct slice sync_token_snapshot(struct arena *arena, const struct sync_token *token)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_printf(&out, "%lld:%lld:", (long long)token->xmin, (long long)token->xmax);
    for (size_t i = 0; i < token->running.len; i++) {
        if (i)
            strbuf_add_char(&out, ',');
        strbuf_add_i64(&out, token->running.at[i]);
    }
    return strbuf_slice(&out);
}

static bool has_number(struct i64s numbers, int64_t number)
{
    for (size_t i = 0; i < numbers.len; i++)
        if (numbers.at[i] == number)
            return true;
    return false;
}

bool sync_token_saw(const struct sync_token *token, int64_t pos)
{
    return pos < token->xmin || (pos < token->xmax && !has_number(token->running, pos));
}

bool sync_token_got(const struct sync_token *token, int64_t event_nid)
{
    return has_number(token->delivered, event_nid);
}
