/* Identifiers (spec appendix "Identifier Grammar"). Pure. */
#ifndef MYELIN_MATRIX_IDS_H
#define MYELIN_MATRIX_IDS_H

#include "lib/base/arena.h"

bool user_id_is_valid(struct slice id);           /* historical grammar: what others may send us; ≤ 255 bytes */
bool user_localpart_is_valid(struct slice local); /* strict grammar: what we let people register */
bool room_id_is_valid(struct slice id);           /* "!" opaque [":" server] */
bool room_alias_is_valid(struct slice alias);
bool event_id_is_valid(struct slice id);
bool server_name_is_valid(struct slice name);
struct slice id_server_name(struct slice id); /* after the first ':'; absent if none */
struct slice id_localpart(struct slice id);   /* between sigil and first ':' */
/* Host, optional port (-1 when absent), whether the host is an IP literal (v6 without its brackets in *host). */
struct server_name {
    struct slice host;
    int port;
    bool is_ipv4, is_ipv6;
};
bool server_name_parse(struct slice name, struct server_name *out);
/* m.room.server_acl glob: * and ?, ASCII case ignored. */
bool glob_match(struct slice pattern, struct slice text);

#endif
