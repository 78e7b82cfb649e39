/* KIND_ONLY(kind, text): the text when `kind` is the kind that this file is compiled for (-DMYELIN_KIND=rooms), else nothing. The
 * preprocessor cannot compare words, so each kind has a row that makes "same_same" expand to a comma, which shifts the choice. */
#ifndef MYELIN_PROTO_KIND_ONLY_H
#define MYELIN_PROTO_KIND_ONLY_H

#include "proto/service.h"

#ifndef MYELIN_KIND
#error "compile with -DMYELIN_KIND=<kind>, a name of proto/services.def"
#endif

#define KIND_IS_frontend_frontend ~,
#define KIND_IS_rooms_rooms ~,
#define KIND_IS_media_media ~,
#define KIND_IS_push_push ~,
#define KIND_IS_janitor_janitor ~,
#define KIND_IS_federation_federation ~,
#define KIND_IS_sync_sync ~,
#define KIND_IS_accounts_accounts ~,
#define KIND_IS_events_events ~,
#define KIND_IS_keys_keys ~,
#define KIND_IS_sender_sender ~,
#define KIND_IS_discovery_discovery ~,
#define KIND_IS_signing_signing ~,

#define KIND_SECOND(first, second, ...) second
#define KIND_CHOOSE(...) KIND_SECOND(__VA_ARGS__)
#define KIND_PAIR(a, b) KIND_IS_##a##_##b
#define KIND_SAME(a, b) KIND_PAIR(a, b)
#define KIND_KEEP(...) __VA_ARGS__
#define KIND_DROP(...)
#define KIND_ONLY(kind, ...) KIND_CHOOSE(KIND_SAME(MYELIN_KIND, kind) KIND_KEEP, KIND_DROP, ~)(__VA_ARGS__)

#define KIND_JOIN_(a, b) a##b
#define KIND_JOIN(a, b) KIND_JOIN_(a, b)
#define SERVICE_OF_THIS KIND_JOIN(SERVICE_, MYELIN_KIND)
#define RANK_OF_THIS KIND_JOIN(RANK_, MYELIN_KIND)

/* A kind without its row above would quietly have no handlers. */
#define SERVICE(kind, rank, threads, db_role, publishes, reach) \
    _Static_assert(KIND_CHOOSE(KIND_PAIR(kind, kind) 1, 0, ~), #kind " needs a row in proto/kind_only.h");
#include "proto/services.def"
#undef SERVICE

#endif
