/* The hello, first on each connection and both ways: [major, minor, kind, instance, software version]. A later version may append.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/kit/wire.h"
#include "proto/pack.h"

enum { HELLO_FIELDS = 5 };

struct slice wire_hello_head(struct arena *arena, enum service kind, uint64_t instance)
{
    struct strbuf head = strbuf_in(arena);
    pack_array(&head, HELLO_FIELDS);
    pack_i64(&head, WIRE_MAJOR);
    pack_i64(&head, WIRE_MINOR);
    pack_slice(&head, slice_from_cstr(service_facts(kind)->name));
    pack_slice(&head, arena_printf(arena, "%016" PRIx64, instance));
    pack_slice(&head, slice_from_cstr(MYELIN_VERSION));
    return strbuf_slice(&head);
}

/* What a hello does not say is not objected to. */
const char *wire_hello_objection(const struct wire_message *hello, enum service kind, uint64_t instance)
{
    char wanted[17];
    if (hello->header.major != WIRE_MAJOR)
        return "it speaks another version of the bus";
    struct pack_reader reader = pack_reader_of(hello->body.head);
    size_t fields = pack_read_array(&reader);
    for (size_t i = 0; i < 2 && i < fields; i++)
        pack_skip(&reader);
    struct slice its_kind = fields > 2 ? pack_read_slice(&reader) : SLICE_ABSENT;
    struct slice its_instance = fields > 3 ? pack_read_slice(&reader) : SLICE_ABSENT;
    if (reader.failed)
        return "its hello cannot be read";
    if (!slice_is_absent(its_kind) && !slice_eq(its_kind, slice_from_cstr(service_facts(kind)->name)))
        return "it is of another kind";
    snprintf(wanted, sizeof wanted, "%016" PRIx64, instance);
    if (!slice_is_absent(its_instance) && !slice_eq(its_instance, slice_from_cstr(wanted)))
        return "it is another process than the registry's";
    return NULL;
}
