/* See database_login.h. */
#include "lib/kit/database_login.h"

#include <libpq-fe.h>

#include "lib/base/strbuf.h"

static void add_word(struct strbuf *out, const char *name, const char *value)
{
    strbuf_printf(out, "%s%s='", out->len ? " " : "", name);
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            strbuf_add_char(out, '\\');
        strbuf_add_char(out, *value);
    }
    strbuf_add_char(out, '\'');
}

struct slice database_login_url(struct arena *arena, const char *url, const char *user)
{
    PQconninfoOption *given = PQconninfoParse(url, NULL);
    if (!given)
        return arena_copy(arena, slice_from_cstr(url));
    struct strbuf out = strbuf_in(arena);
    for (PQconninfoOption *option = given; option->keyword; option++)
        if (option->val && strcmp(option->keyword, "user") != 0)
            add_word(&out, option->keyword, option->val);
    add_word(&out, "user", user);
    PQconninfoFree(given);
    return strbuf_slice(&out);
}
