/* User names; see user_name.h. */
#include "workers/accounts/user_name.h"

#include "lib/matrix/ids.h"

struct slice text_lower(struct arena *arena, struct slice text)
{
    char *lower = arena_cstr(arena, text);
    for (size_t i = 0; i < text.len; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] - 'A' + 'a');
    return slice_of(lower, text.len);
}

/* Names that start with '_' are for application services and ourselves. */
struct slice user_id_to_register(struct arena *arena, struct slice username, struct slice server)
{
    struct slice local = text_lower(arena, username);
    if (!user_localpart_is_valid(local) || local.at[0] == '_')
        return SLICE_ABSENT;
    struct slice user_id = arena_printf(arena, "@%.*s:%.*s", PRI(local), PRI(server));
    return user_id_is_valid(user_id) ? user_id : SLICE_ABSENT;
}

struct slice user_id_to_log_in(struct arena *arena, struct slice typed, struct slice server)
{
    struct slice user_id = typed.len && typed.at[0] == '@' ? typed : arena_printf(arena, "@%.*s:%.*s", PRI(typed), PRI(server));
    return user_id_is_valid(user_id) && slice_eq(id_server_name(user_id), server) ? user_id : SLICE_ABSENT;
}
